"""Bodies that nobody would send: the server answers each with 200 or 400, in JSON, and serves on.

CGC_FUZZ_SECONDS=300 goes on for so long with new bodies; without it a fixed few are sent.
"""

import base64
import json
import os
import time

import hypothesis
import requests
from hypothesis import strategies as st

SECONDS = float(os.environ.get("CGC_FUZZ_SECONDS", 0))
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAIAAAD91JpzAAAAFklEQVR4nGP4z8Dwn4GBgQFEMDAwAAAh9gL/fMHRNwAAAABJRU5ErkJggg=="
)
numbers = st.integers() | st.floats() | st.integers(-(2**70), 2**70)
words = st.text(max_size=20) | st.sampled_from(["b64", "image_bytes", "class_id", "a", "b", "explain", "\ud800"])
damaged = st.tuples(st.integers(0, len(PNG)), st.binary(max_size=8)).map(lambda cut: PNG[: cut[0]] + cut[1])
encoded = (st.binary(max_size=40) | damaged).map(lambda data: {"b64": base64.b64encode(data).decode()})
leaves = st.none() | st.booleans() | numbers | words | encoded
values = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(words, inner, max_size=4), max_leaves=20
)
signatures = st.sampled_from(["serving_default", "explain", "explain_class", "add", "echo", ""]) | values
inputs = st.fixed_dictionaries(
    {},
    optional={name: st.lists(encoded | numbers, max_size=4) | values for name in ("image_bytes", "class_id", "a", "b")},
)
structured = st.fixed_dictionaries(
    {},
    optional={
        "signature_name": signatures,
        "instances": st.lists(inputs | values, max_size=4),
        "inputs": inputs | values,
    },
)
bodies = (structured | values).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200)


def test_no_body_breaks_the_server(server):
    url, session = f"{server.rest_url}/v1/models/cgc:predict", requests.Session()

    def send(body):
        response = session.post(url, data=body, timeout=30)
        assert response.status_code in (200, 400), (body, response.text)
        assert set(response.json()) <= {"error", "outputs", "predictions"}

    checks = list(hypothesis.HealthCheck)
    settings = {"deadline": None, "database": None, "suppress_health_check": checks}
    if not SECONDS:
        hypothesis.settings(max_examples=150, derandomize=True, **settings)(hypothesis.given(bodies)(send))()
        return
    end, sent = time.monotonic() + SECONDS, 0
    while time.monotonic() < end:
        hypothesis.settings(max_examples=500, **settings)(hypothesis.given(bodies)(send))()
        sent += 500
    print(f"{sent} bodies in {SECONDS:g} s")
