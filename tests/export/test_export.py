"""Train, export, serve and ask: the SavedModel elsewhere, and over real sockets."""

import hashlib
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cgc_tf.common.errors import UserError
from cgc_tf.data.pictures import decode_image
from cgc_tf.data.views import original_view
from cgc_tf.report import model_card
from cgc_tf.training import checkpoints, config, run_folder
from export import onnx_model, saved_model, verify
from export.artifact import layout
from export.client import Client
from export.serving.loopback import Server
from export.serving.versions import Model

ELSEWHERE = """
import json, sys
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
pictures = tf.constant([open(path, "rb").read() for path in sys.argv[2:]])
answer = {name: model.signatures[name](image_bytes=pictures) for name in ("serving_default", "explain")}
assert not any(name.split(".")[0] in ("cgc_tf", "export") for name in sys.modules)
decode = lambda array: (array.astype("S").astype(str) if array.dtype == object else array).tolist()
print(json.dumps({name: {key: decode(value.numpy()) for key, value in each.items()} for name, each in answer.items()}))
"""


@pytest.fixture(scope="module")
def expected(workdir, small_config, files):
    """What the trained model itself answers."""
    model = run_folder.trained_model(small_config, workdir)
    views = [original_view(decode_image(path.read_bytes()), 48) for path in files]
    answer = model.explain(tf.stack([view for view, _ in views]))
    heatmap = answer["heatmap"] / tf.reduce_max(answer["heatmap"], [1, 2], keepdims=True)
    return {
        "probabilities": answer["probabilities"],
        "class_id": answer["class_id"],
        "score": tf.reduce_max(answer["probabilities"], -1),
        "heatmap": heatmap,
        "heatmap_box": tf.stack([box for _, box in views]),
    }


SIGNATURES = (
    "serving_default",
    "explain",
    "explain_class",
    "explain_checked",
    "overlay",
    "predict_tensor",
    "explain_tensor",
    "predict_tensor_uint8",
    "explain_tensor_uint8",
)


def check(answer, expected, names=None):
    for name in names or expected:
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_same_numbers_in_a_process_without_this_package(exported, files, expected, workdir, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, exported, *files], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answer = json.loads(run.stdout)
    check(answer["explain"], expected)
    check(answer["serving_default"], expected, ["probabilities", "class_id", "score"])
    first = {"class_id", "score", "label"}
    assert set(answer["serving_default"]) == {"probabilities", *first, *(f"top5_{name}" for name in first)}
    names = run_folder.class_names(workdir)
    assert answer["explain"]["label"] == [names[i] for i in expected["class_id"]]


def test_artifact(exported, workdir):
    """A numbered version, no partial one beside it, and weights stored once."""
    assert exported.name == "1" and [entry.name for entry in exported.parent.iterdir()] == ["1"]
    weights = sum(
        4 * int(np.prod(shape))
        for name, shape in tf.train.list_variables(str(exported / "variables/variables"))
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    )
    model_bytes = 4 * run_folder.trained_model(config.Config.load(workdir), workdir).count_params()
    assert weights == model_bytes
    assert [entry.name for entry in exported.parent.iterdir()] == ["1"]
    assert (exported / model_card.LABELS).read_text() == "".join(
        f"{name}\n" for name in run_folder.class_names(workdir)
    )
    contents = model_card.read(exported)
    assert contents["configuration"]["backbone"] == "resnet8" and contents["data"] == {
        "dataset": "folder",
        "classes": 3,
    }
    sums = dict(reversed(line.split("  ")) for line in (exported / layout.SUMS).read_text().splitlines())
    assert set(sums) == {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()} - {
        layout.SUMS
    }
    assert all(hashlib.sha256((exported / name).read_bytes()).hexdigest() == value for name, value in sums.items())


def test_warm_up_has_a_request_for_each_signature(exported):
    """Loading a version for the server, as other tests do, answers each of them."""
    requests = {request.model_spec.signature_name: request for request in layout.read_warmup(exported)}
    signatures = layout.signature_defs(exported)
    assert set(requests) == set(SIGNATURES) == set(signatures)
    assert all(set(request.inputs) == set(signatures[name].inputs) for name, request in requests.items())


@pytest.mark.slow
def test_verify_says_where(exported, workdir, tmp_path):
    found = verify.verify(exported, verify.from_workdir(workdir, exported))
    assert set(found) >= {"serving_default.probabilities", "explain.heatmap", "explain_class.heatmap"}
    assert max(found.values()) <= verify.TOLERANCE
    trained_on = shutil.copytree(workdir, tmp_path / "trained_on")
    checkpoints.files(trained_on / checkpoints.FOLDER)[-1].unlink()
    with pytest.raises(UserError, match="does not hold the checkpoint"):
        verify.from_workdir(trained_on, exported)
    copy = shutil.copytree(exported, tmp_path / "1")
    expected = json.loads((copy / layout.EXAMPLES / "expected.json").read_text())
    expected["heatmap"][0][0][0] += 0.01
    (copy / layout.EXAMPLES / "expected.json").write_text(json.dumps(expected))
    with pytest.raises(UserError, match=r"not as they were written: assets.extra/examples/expected.json$"):
        verify.verify(copy)
    layout.write_sums(copy)
    with pytest.raises(UserError, match=r"explain\.heatmap differs by 0\.01"):
        verify.verify(copy)
    (copy / layout.WARMUP).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="is damaged"):
        layout.read_warmup(copy)


@pytest.mark.slow
def test_nothing_is_left_of_an_export_that_fails(workdir, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(layout, "write_sums", fail)
    with pytest.raises(UserError, match="No space left"):
        saved_model.export(workdir, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_onnx_answers_what_the_model_does(workdir, tmp_path):
    assert onnx_model.export(workdir, tmp_path / "model.onnx") <= onnx_model.TOLERANCE


@pytest.mark.slow
def test_saved_model_cli(exported, files, tmp_path):
    """TensorFlow's own tool shows and runs it."""
    tool = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"]
    target = ["--dir", str(exported), "--tag_set", "serve", "--signature_def", "explain"]
    shown = subprocess.run([*tool, "show", *target], capture_output=True, text=True, check=True).stdout
    assert "inputs['image_bytes']" in shown and "outputs['heatmap']" in shown
    np.save(tmp_path / "pictures.npy", np.array([files[2].read_bytes()]))
    given = ["--inputs", f"image_bytes={tmp_path}/pictures.npy"]
    run = subprocess.run([*tool, "run", *target, *given, "--outdir", str(tmp_path)], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert np.load(tmp_path / "heatmap.npy").shape == (1, 3, 3)


@pytest.mark.slow
def test_serve_and_ask(exported, files, expected, tmp_path, programs):
    """REST and gRPC answer what the model does, and the client's program draws it."""
    with Server(Model(exported.parent)) as server:
        for url in (server.rest_url, server.grpc_url):
            check(Client(url).explain([path.read_bytes() for path in files]), expected)
            output = tmp_path / "drawn.png"
            run = programs.run("-m", "export.client", f"--image={files[1]}", f"--url={url}", f"--output={output}")
            assert "score" in run.stdout
            with Image.open(output) as drawn, Image.open(files[1]) as picture:
                assert drawn.size == picture.size
                assert (np.asarray(drawn) != np.asarray(picture)).any()
            output.unlink()


@pytest.mark.slow
def test_versions_of_another_run_are_not_mixed_in(workdir, exported, tmp_path, programs):
    """A run is known by its record, wherever it lies; another one needs to be allowed."""
    output = shutil.copytree(exported.parent, tmp_path / "exported")
    moved = shutil.copytree(workdir, tmp_path / "moved")
    assert saved_model.export_saved_model(moved, output).name == "2"
    lines = (moved / "journal.jsonl").read_text().splitlines()
    (moved / "journal.jsonl").write_text(lines[0].replace('"start"', '"start", "seen": 1') + "\n")
    with pytest.raises(UserError, match=r"version 2 there is of moved, not of moved, .* --allow_other_run"):
        saved_model.export(moved, output)
    program = ["-m", "export.saved_model", f"--workdir={moved}", f"--output={output}", "--allow_other_run"]
    done = programs.run(*program)
    assert done.returncode == 0, done.stderr
    assert f"exporting {moved}: cgc, resnet8 on folder, trained to the end of epoch 2 of 2" in done.stdout
    assert (output / "3").is_dir()


def test_what_cannot_be_exported(tmp_path, workdir):
    with pytest.raises(UserError, match="is not a run folder"):
        saved_model.export(tmp_path, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        saved_model.export(workdir, tmp_path / "file")
