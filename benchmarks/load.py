"""The loopback server, as a process of its own, under many connections at once; then with one request in ten broken."""

import base64
import collections
import itertools
import json
import pathlib
import subprocess
import sys
import threading
import time

import numpy as np
import requests
import tensorflow as tf

from export.artifact import layout

CONNECTIONS, BROKEN_EVERY = 50, 10


def measure(model_dir, seconds):
    """Loads the server over REST with `explain` of one picture, for so many seconds, twice.

    Returns:
        A dict, once with the prefix `load_` and once `broken_`: `p50_s` and `p99_s`, seconds of a good request;
        `answered` and `failed`, good requests with an answer and without; `rightly` and `wrongly`, broken ones answered
        as they should be, and others; `memory_growth`, the process's memory at the end over that after
        a fifth of the time.
    """
    command = [sys.executable, "-m", "export.server", f"--model_dir={model_dir}", "--rest_port=0", "--grpc_port=0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            url = process.stdout.readline().split()[1].rstrip("/")
            results = {}
            for prefix, every in (("load", 0), ("broken", BROKEN_EVERY)):
                found = _phase(f"{url}/v1/models/cgc:predict", process.pid, seconds, every)
                results |= {f"{prefix}_{name}": value for name, value in found.items()}
        finally:
            process.terminate()
    return results


def broken_requests():
    """`(body, status)` of each kind of broken request: bytes, and the first digit of the status due to it.

    A picture of one pixel is answered as any other, and what is no picture by a blank. The last body is above the size
    limit.
    """
    encoded = layout.example_pictures(96)
    large = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2 + bytes(20)
    good = body([encoded["0.jpg"]])
    pixel = tf.io.encode_png(np.zeros([1, 1, 3], np.uint8)).numpy()
    answered = [body([picture]) for picture in (pixel, b"not a picture", encoded["1.png"][:500], large)]
    refused = [
        body([]),
        good.replace(b'"explain"', b'"nope"'),
        json.dumps({"signature_name": "explain", "inputs": {"image_bytes": [1.5]}}).encode(),
        good[:-9],
        b" " * (65 << 20),
    ]
    return [*((data, 2) for data in answered), *((data, 4) for data in refused)]


def body(images, signature="explain"):
    """A request's body for encoded pictures."""
    values = [{"b64": base64.b64encode(image).decode()} for image in images]
    return json.dumps({"signature_name": signature, "inputs": {"image_bytes": values}}).encode()


def _phase(url, pid, seconds, broken_every):
    good, broken = body([layout.example_pictures(224)["0.jpg"]]), itertools.cycle(broken_requests())
    counts, latencies, lock = collections.Counter(), [], threading.Lock()
    end = time.monotonic() + seconds

    def ask(number):
        session = requests.Session()
        for index in itertools.count(number):
            if time.monotonic() > end:
                return
            is_broken = broken_every and index % broken_every == 0
            with lock:
                data, due = next(broken) if is_broken else (good, 2)
            start = time.perf_counter()
            try:
                status = session.post(url, data=data, timeout=120).status_code
            except requests.RequestException:
                status = 0  # an oversized body may be cut off while it is being sent
            with lock:
                if is_broken:
                    counts["rightly" if status // 100 == due else "wrongly"] += 1
                else:
                    counts["answered" if status // 100 == due else "failed"] += 1
                    latencies.append(time.perf_counter() - start)

    threads = [threading.Thread(target=ask, args=[number]) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    time.sleep(seconds / 5)
    before = _resident_bytes(pid)
    for thread in threads:
        thread.join()
    p50, p99 = np.percentile(latencies, [50, 99])
    names = ("answered", "failed", *(("rightly", "wrongly") if broken_every else ()))
    counted = {name: counts[name] for name in names}
    return {"p50_s": p50, "p99_s": p99, **counted, "memory_growth": _resident_bytes(pid) / before}


def _resident_bytes(pid):
    text = pathlib.Path(f"/proc/{pid}/status").read_text()
    return 1024 * int(text.partition("VmRSS:")[2].split()[0])
