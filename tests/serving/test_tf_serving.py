"""The files for TensorFlow Serving: read by its own messages where those are published, and consistent."""

import re

import yaml
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2
from toy_model import ROOT

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


def test_the_largest_allowed_batch_is_the_largest():
    text = (FILES / "batching.config").read_text()
    allowed = [int(size) for size in re.findall(r"allowed_batch_sizes: (\d+)", text)]
    assert allowed == sorted(allowed)
    assert allowed[-1] == int(re.search(r"max_batch_size { value: (\d+) }", text)[1])


def test_containers_mount_what_is_configured():
    base = models("models.config").base_path
    compose = yaml.safe_load((FILES / "compose.yaml").read_text())
    assert compose["services"]["serving"]["volumes"][0].endswith(f":{base}:ro")
    deployment, service = yaml.safe_load_all((FILES / "kubernetes.yaml").read_text())
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["volumeMounts"][0]["mountPath"] == base
    assert {port["targetPort"] for port in service["spec"]["ports"]} == {port["name"] for port in container["ports"]}
    copied = set(re.findall(r"/etc/serving/([\w.]+)", (FILES / "Dockerfile").read_text()))
    assert copied and all((FILES / name).exists() for name in copied)
