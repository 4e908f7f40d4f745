"""A server's life: ports, processes, and versions that come and go while it answers."""

import re
import shutil
import signal
import threading
import time

import pytest
import requests
import tensorflow as tf
from tensorflow_serving.apis import get_model_status_pb2
from toy_model import EXPLANATIONS, LABELS, assert_same, b64, post, start, write_version

from cgc_tf.common.errors import UserError
from export.client import Client
from export.serving.loopback import Server
from export.serving.versions import Model


def test_stop_frees_the_ports_and_a_taken_port_is_refused(model_dir):
    model = Model(model_dir, "pets")
    with Server(model) as first:
        taken = int(first.rest_url.rpartition(":")[2]), int(first.grpc_url.rpartition(":")[2])
        session = requests.Session()  # keeps its connection open, which must not hold up `stop`
        assert session.get(f"{first.rest_url}/v1/models/pets", timeout=20).status_code == 200
        with pytest.raises(UserError, match="cannot listen"):
            Server(model, rest_port=taken[0])
        with pytest.raises(UserError, match="cannot listen"):
            Server(model, grpc_port=taken[1])
    with Server(model, rest_port=taken[0], grpc_port=taken[1]) as second:
        assert requests.get(f"{second.rest_url}/v1/models/pets", timeout=20).status_code == 200


@pytest.mark.slow
def test_server_process_serves_until_told_to_end_or_refuses(model_dir, pictures, tmp_path):
    # Both at once, since most of their time is TensorFlow's import.
    serving = start("export.server", f"--model_dir={model_dir}", "--rest_port=0", "--grpc_port=0")
    refusing = start("export.server", f"--model_dir={tmp_path}")
    try:
        urls = re.findall(r"(?:http|grpc)://127[\d.:]+(?=/v1|\n)", "".join(serving.stdout.readline() for _ in range(3)))
        assert len(urls) == 2, serving.communicate()
        by_rest, by_grpc = (Client(url).explain(pictures) for url in urls)
        assert_same(by_rest, by_grpc, EXPLANATIONS)
        serving.send_signal(signal.SIGTERM)
        _, err = serving.communicate(timeout=20)
        assert serving.returncode == 0
        assert "Traceback" not in err

        out, err = refusing.communicate(timeout=60)
        assert (refusing.returncode, out) == (2, "")
        assert "Traceback" not in err
        assert re.fullmatch("error: .* holds no version.*", err.splitlines()[-1])
    finally:
        for process in (serving, refusing):
            process.kill()
            process.communicate()


def test_model_refuses_a_broken_version(tmp_path):
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "saved_model.pb").write_bytes(b"not a protobuf")
    with pytest.raises(UserError, match="cannot load"):
        Model(tmp_path)


def test_a_new_version_takes_over_without_a_dropped_request(tmp_path, pictures):
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    write_version(tmp_path, 1)
    with Server(Model(tmp_path, watch_seconds=0.05)) as server:
        answers, done = [], threading.Event()

        def keep_asking():
            while not done.is_set():
                answers.append(post(server, {"instances": [b64(pictures[0])]}))

        def version():
            return requests.get(f"{server.rest_url}/healthz", timeout=20).json()["version"]

        threads = [threading.Thread(target=keep_asking) for _ in range(3)]
        for thread in threads:
            thread.start()
        try:
            shutil.copytree(tmp_path / "1", tmp_path / "partial")
            (tmp_path / "partial" / "saved_model.pb").write_bytes(b"broken")
            (tmp_path / "partial").rename(tmp_path / "3")
            write_version(tmp_path, 2)
            deadline = time.monotonic() + 30
            while version() != 2 and time.monotonic() < deadline:
                time.sleep(0.05)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        assert version() == 2  # the broken version 3 is passed over
        assert {status for status, _ in answers} == {200}
        assert answers[0] != post(server, {"instances": [b64(pictures[0])]})
        status = requests.get(f"{server.rest_url}/v1/models/cgc", timeout=20).json()["model_version_status"]
        assert [(one["version"], one["state"]) for one in status] == [("3", "END"), ("2", "AVAILABLE"), ("1", "END")]


def test_labels_are_of_versions_that_are_served(model_dir):
    with pytest.raises(UserError, match="stable"):
        Model(model_dir, labels={"stable": 2})
    model = Model(model_dir, serve={2}, labels={"stable": 2})
    assert model.find(label="stable").version == 2
    with pytest.raises(tf.errors.NotFoundError, match="no version 10"):
        model.find(version=10)
    assert model.status().model_version_status[0].state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
