"""What is too much, broken off or damaged: refused, and the server serves on."""

import re
import socket

import pytest
import requests
from toy_model import b64, post

from export.serving.servable import MAX_BATCH, MAX_BYTES


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


def test_a_large_batch_is_computed_in_parts(server, pictures):
    rows = [b64(pictures[0])] * (MAX_BATCH + 1) + [b64(pictures[2])]
    status, answer = post(server, {"instances": rows})
    assert status == 200 and len(answer["predictions"]) == len(rows)
    alone = [post(server, {"instances": [row]})[1]["predictions"][0] for row in (rows[0], rows[-1])]
    assert answer["predictions"][MAX_BATCH - 1 :] == [alone[0], alone[0], alone[1]]
    status, answer = post(server, {"signature_name": "echo", "inputs": ["a"] * (MAX_BATCH + 1)})
    assert status == 400 and "not by example" in answer["error"]
