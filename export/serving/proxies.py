"""The environment's proxies: never for this machine, and said where a request through one fails."""

import ipaddress
import os
import urllib.parse
import urllib.request

_OF_GRPC = ("grpc_proxy", "https_proxy", "http_proxy")  # as gRPC looks for them


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine."""
    host = urllib.parse.urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified


def note(url: str) -> str:
    """What an error says of the proxy that a request to a URL goes through, "" where it goes through none."""
    parts = urllib.parse.urlsplit(url)
    if is_loopback(url) or not parts.hostname or urllib.request.proxy_bypass(parts.hostname):
        return ""
    if parts.scheme == "grpc":
        proxy = next(filter(None, map(os.environ.get, _OF_GRPC)), "")
    else:
        found = urllib.request.getproxies()
        proxy = found.get(parts.scheme) or found.get("all", "")
    if not proxy:
        return ""
    shown = proxy.rpartition("@")[2].removeprefix("http://")  # not its user's password
    return f" (through the environment's proxy {shown}; NO_PROXY={parts.hostname} goes around it)"
