"""The files for TensorFlow Serving: read by its own messages where those are published, and run where it is."""

import os
import re
import shutil
import socket
import subprocess
import time

import numpy as np
import pytest
import requests
import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2
from toy_model import EXPLANATIONS, ROOT, assert_same

from export.client import Client

FILES = ROOT / "export/tf_serving"


def models(name):
    config = text_format.Parse((FILES / name).read_text(), model_server_config_pb2.ModelServerConfig())
    (model,) = config.model_config_list.config
    return model


def test_model_configurations():
    newest, canary = models("models.config"), models("models_canary.config")
    assert newest.model_version_policy.latest.num_versions == 1
    assert set(canary.version_labels.values()) == set(canary.model_version_policy.specific.versions)
    assert set(canary.version_labels) == {"stable", "canary"}
    assert newest.name == canary.name == "cgc" and newest.base_path == canary.base_path


def test_batches_are_of_the_sizes_that_are_allowed():
    """As its batching code asks: sizes rise, the last is the largest, and what is computed at once is one of them."""
    text = (FILES / "batching.config").read_text()
    allowed = [int(size) for size in re.findall(r"allowed_batch_sizes: (\d+)", text)]
    assert allowed == sorted(set(allowed))
    largest, computed = (
        int(re.search(rf"{name} {{ value: (\d+) }}", text)[1])
        for name in ("max_batch_size", "max_execution_batch_size")
    )
    assert allowed[-1] == largest and computed in allowed
    assert "enable_large_batch_splitting { value: true }" in text and "num_batch_threads {" not in text


def test_containers_mount_what_is_configured():
    base = models("models.config").base_path
    compose = yaml.safe_load((FILES / "compose.yaml").read_text())
    assert compose["services"]["serving"]["volumes"][0].endswith(f":{base}:ro")
    deployment, service = yaml.safe_load_all((FILES / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["volumeMounts"][0]["mountPath"] == base
    assert {port["targetPort"] for port in service["spec"]["ports"]} == {port["name"] for port in container["ports"]}
    copied = set(re.findall(r"/etc/serving/([\w.]+)", (FILES / "Dockerfile").read_text()))
    assert copied == {"serve.sh"} and (FILES / "serve.sh").exists()


def start_serve_sh(*args, **environment):
    command = ["sh", FILES / "serve.sh", *args]
    return subprocess.Popen(command, env=os.environ | environment, stdout=-1, stderr=-1, text=True)


def test_serve_sh_starts_the_server_with_files_that_exist(tmp_path):
    """A stand-in for `tensorflow_model_server` prints what it is started with."""
    (tmp_path / "versions").mkdir()
    out, err = start_serve_sh(tmp_path / "versions", PATH="/usr/bin:/bin").communicate()
    assert "is not installed" in err and not out
    (tmp_path / "tensorflow_model_server").write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    (tmp_path / "tensorflow_model_server").chmod(0o755)
    path = f"{tmp_path}:/usr/bin:/bin"
    out, err = start_serve_sh(
        tmp_path / "versions", "--rest_api_enable_cors_support", PATH=path, MODELS="models_canary.config"
    ).communicate()
    assert not err and out.splitlines()[-1] == "--rest_api_enable_cors_support"
    flags = dict(line.removeprefix("--").split("=") for line in out.splitlines()[:-1])
    assert (flags["port"], flags["rest_api_port"], flags["enable_batching"]) == ("8500", "8501", "true")
    assert flags["batching_parameters_file"] == str(FILES / "batching.config")
    assert flags["monitoring_config_file"] == str(FILES / "monitoring.config")
    served = models(flags["model_config_file"])
    assert served.base_path == str(tmp_path / "versions") and set(served.version_labels) == {"stable", "canary"}
    assert start_serve_sh(PATH=path).wait() != 0


def test_tensorflow_serving_answers_as_the_saved_model(model_dir, pictures, expected):
    """With exactly the shipped flags."""
    if shutil.which("tensorflow_model_server") is None:
        pytest.skip("tensorflow_model_server is not installed: export/tf_serving was not run")
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    process = start_serve_sh(model_dir, GRPC_PORT=str(ports[0]), REST_PORT=str(ports[1]))
    try:
        url, deadline = f"http://127.0.0.1:{ports[1]}", time.monotonic() + 60
        while process.poll() is None and time.monotonic() < deadline:
            try:
                requests.get(f"{url}/v1/models/cgc", timeout=5).raise_for_status()
                break
            except requests.RequestException:
                time.sleep(0.5)
        assert process.poll() is None, process.communicate()
        for address in (url, f"grpc://127.0.0.1:{ports[0]}"):
            assert_same(Client(address).explain(pictures), expected, EXPLANATIONS)
        many = Client(url).explain(pictures[:1] * 70)
        np.testing.assert_allclose(many["heatmap"], np.repeat(expected["heatmap"][:1], 70, 0), atol=1e-5)
    finally:
        process.terminate()
        process.communicate()
