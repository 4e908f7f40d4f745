"""What is too much, broken off or damaged: refused, and the server serves on."""

import re
import socket

import pytest
import requests
from toy_model import b64, post

from export.rpc import MAX_BYTES
from export.servable import MAX_BATCH


@pytest.mark.parametrize(
    "header",
    [f"Content-Length: {MAX_BYTES + 1}", "Content-Length: -3", "Transfer-Encoding: chunked"],
)
def test_broken_and_oversized_requests_leave_the_server_serving(server, header):
    address = server.rest_url.removeprefix("http://").split(":")
    with socket.create_connection(address, timeout=20) as connection:
        head = f"POST /v1/models/cgc:predict HTTP/1.1\r\nHost: a\r\n{header}\r\n\r\n"
        connection.sendall(head.encode() + b"no chunk size\r\n\r\n")
        assert re.match(rb"HTTP/1.1 4\d\d ", connection.recv(100))
    with socket.create_connection(address, timeout=20) as connection:
        connection.sendall(b"POST /v1/models/cgc:predict HTTP/1.1\r\nContent-Length: 99\r\n\r\n{")
    assert requests.get(f"{server.rest_url}/v1/models/cgc", timeout=20).status_code == 200


def test_a_batch_is_of_bounded_size(server, pictures):
    rows = [b64(pictures[2])] * (MAX_BATCH + 1)
    status, answer = post(server, {"instances": rows})
    assert (status, answer) == (400, {"error": f"a batch is of 1 to {MAX_BATCH} examples, not {MAX_BATCH + 1}"})
    assert post(server, {"instances": rows[1:]})[0] == 200
