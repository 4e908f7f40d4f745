"""Train, export, serve and ask: the SavedModel elsewhere, and over real sockets."""

import hashlib
import io
import itertools
import json
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from cgc_tf import data, figures, folder, geometry, runs
from cgc_tf.errors import UserError
from export import artifact, onnx_model, pictures, saved_model, verify
from export.client import Client
from export.server import Server
from export.transports import BadRequest
from export.versions import Model

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
def exported(workdir, tmp_path_factory):
    return saved_model.export(workdir, tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="module")
def files(pictures):
    """Three test pictures of three sizes, JPEG and PNG."""
    return [pictures / f"test/red_wings/{name}" for name in ("000.jpg", "001.jpg", "003.png")]


@pytest.fixture(scope="module")
def expected(workdir, small_config, files):
    """What the trained model itself answers."""
    model = runs.trained_model(small_config, workdir)
    views = [data.original_view(folder.decode_image(path.read_bytes()), 48) for path in files]
    answer = model.explain(tf.stack([view for view, _ in views]))
    heatmap = answer["heatmap"] / tf.reduce_max(answer["heatmap"], [1, 2], keepdims=True)
    return {
        "probabilities": answer["probabilities"],
        "class_id": answer["class_id"],
        "score": tf.reduce_max(answer["probabilities"], -1),
        "heatmap": heatmap,
        "heatmap_box": tf.stack([box for _, box in views]),
    }


@pytest.fixture(scope="module")
def model(exported):
    return tf.saved_model.load(str(exported))


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


def peaked(heatmap):
    return tf.math.divide_no_nan(heatmap, tf.reduce_max(heatmap, [1, 2], keepdims=True))


def pictures_of(batch):
    """Whether each of a batch of encoded pictures is decoded."""
    return tf.function(lambda encoded: pictures.views(encoded, 48))(tf.constant(batch))[2].numpy().tolist()


def check(answer, expected, names=None):
    for name in names or expected:
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-5, err_msg=name)


def test_same_numbers_in_a_process_without_this_package(exported, files, expected, workdir, tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, exported, *files], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    answer = json.loads(run.stdout)
    check(answer["explain"], expected)
    check(answer["serving_default"], expected, ["probabilities", "class_id", "score"])
    first = {"class_id", "score", "label"}
    assert set(answer["serving_default"]) == {"probabilities", *first, *(f"top5_{name}" for name in first)}
    names = runs.class_names(workdir)
    assert answer["explain"]["label"] == [names[i] for i in expected["class_id"]]


def test_artifact(exported, workdir):
    """A numbered version, no partial one beside it, and weights stored once."""
    assert exported.name == "1" and [entry.name for entry in exported.parent.iterdir()] == ["1"]
    weights = sum(
        4 * int(np.prod(shape))
        for name, shape in tf.train.list_variables(str(exported / "variables/variables"))
        if name != "_CHECKPOINTABLE_OBJECT_GRAPH"
    )
    model_bytes = 4 * runs.trained_model(saved_model.settings.Config.load(workdir), workdir).count_params()
    assert weights == model_bytes
    assert [entry.name for entry in exported.parent.iterdir()] == ["1"]
    assert (exported / artifact.LABELS).read_text() == "".join(f"{name}\n" for name in runs.class_names(workdir))
    card = artifact.read_card(exported)
    assert card["configuration"]["backbone"] == "resnet8" and card["data"] == {"dataset": "folder", "classes": 3}
    sums = dict(reversed(line.split("  ")) for line in (exported / artifact.SUMS).read_text().splitlines())
    assert set(sums) == {path.relative_to(exported).as_posix() for path in exported.rglob("*") if path.is_file()} - {
        artifact.SUMS
    }
    assert all(hashlib.sha256((exported / name).read_bytes()).hexdigest() == value for name, value in sums.items())


def test_warm_up_has_a_request_for_each_signature(exported):
    """Loading a version for the server, as other tests do, answers each of them."""
    requests = {request.model_spec.signature_name: request for request in artifact.read_warmup(exported)}
    signatures = artifact.signature_defs(exported)
    assert set(requests) == set(SIGNATURES) == set(signatures)
    assert all(set(request.inputs) == set(signatures[name].inputs) for name, request in requests.items())


def test_bad_pictures_are_named_by_their_place(model, files):
    good = files[0].read_bytes()
    batch = tf.constant([good, b"", files[2].read_bytes()[:-30], good, b"\x89PNG", b"no picture"])
    for name in ("serving_default", "explain", "explain_checked", "overlay"):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"at these places of the batch, from 0:\] \[1 2 4 5\]"
        ):
            model.signatures[name](image_bytes=batch)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"no class from 0 to 2 .*\[1\]"):
        model.signatures["explain_class"](image_bytes=tf.constant([good] * 2), class_id=tf.constant([2, 3]))


def test_a_blank_answer_leaves_the_others_as_they_are(workdir, exported, model, files, tmp_path):
    """With --on_bad_image=blank and half the bytes: the two options need one export."""
    version = saved_model.export(workdir, tmp_path, precision="float16", on_bad_image="blank", max_pixels=20_000)
    size = sum(path.stat().st_size for path in (version / "variables").iterdir())
    assert size < 0.52 * sum(path.stat().st_size for path in (exported / "variables").iterdir())
    loaded = tf.saved_model.load(str(version))
    good = files[0].read_bytes()
    large = tf.io.encode_png(np.zeros([101, 199, 3], np.uint8)).numpy()
    batch = tf.constant([good, b"no picture", large, good[:900]])
    blank = loaded.signatures["explain"](image_bytes=batch)
    assert blank["class_id"].numpy()[1:].tolist() == [-1, -1, -1] and set(blank["label"].numpy()[1:]) == {b""}
    assert not np.any(blank["heatmap"][1:]) and not np.any(blank["probabilities"][1:])
    alone = model.signatures["explain"](image_bytes=batch[:1])
    np.testing.assert_allclose(blank["probabilities"][0], alone["probabilities"][0], atol=0.02)
    drawn = loaded.signatures["overlay"](image_bytes=batch)["overlay_png_bytes"].numpy()
    assert drawn[0].startswith(b"\x89PNG") and set(drawn[1:]) == {b""}
    assert verify.verify(version)["explain.probabilities"] <= verify.TOLERANCE
    with Server(Model(tmp_path)) as server:
        for signature in ("explain", "overlay"):
            answers = list(Client(server.rest_url).stream([(0, good), (1, b"no picture")], signature))
            assert [(key, type(error)) for key, _, error in answers] == [(0, type(None)), (1, BadRequest)]


@pytest.mark.parametrize(
    "header",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0",
        b"GIF89a" + (65_000).to_bytes(2, "little") * 2 + b"\0\0\0",
        b"BM" + bytes(16) + (60_000).to_bytes(4, "little") * 2 + b"\1\0\x18\0" + bytes(24),
    ],
    ids=["png", "gif", "bmp"],
)
def test_a_picture_too_large_is_refused_by_its_header(header):
    assert pictures_of([header + bytes(1000)]) == [False]


def test_every_kind_and_extreme_shapes_decode():
    kinds = []
    for kind in ("JPEG", "PNG", "GIF", "BMP"):
        stream = io.BytesIO()
        Image.fromarray(np.full([30, 40, 3], 99, np.uint8)).save(stream, kind)
        kinds.append(stream.getvalue())
    sizes = [tf.io.encode_png(np.zeros([*size, 3], np.uint8)).numpy() for size in ((1, 1), (1, 300), (1, 30_000))]
    # A strip of one pixel by thirty thousand would be enlarged to 55 by 1.6 million.
    assert pictures_of([*kinds, *sizes]) == [True] * 6 + [False]


def test_pictures_are_turned_as_exif_asks():
    """As Pillow turns them; 0, 9 and 77 mean nothing, and None is a picture without EXIF."""
    pixels = np.random.default_rng(0).integers(0, 255, [30, 40, 3], np.uint8)
    asked, upright = [], []
    for kind, endian, orientation in itertools.product(("JPEG", "PNG"), "<>", (None, *range(10), 77)):
        exif, stream = Image.Exif(), io.BytesIO()
        exif.endian, exif[0x010F], exif[0x8769] = endian, "Nobody", {0x9003: "2022"}
        if orientation is not None:
            exif[0x0112] = orientation
        Image.fromarray(pixels).save(stream, kind, **({} if orientation is None else {"exif": exif}))
        asked.append(stream.getvalue())
        image = folder.decode_image(stream.getvalue()).numpy()
        with Image.open(stream) as written:
            turned = Image.fromarray(image)
            turned.getexif()[0x0112] = written.getexif().get(0x0112, 1)
            upright.append(tf.io.encode_png(np.asarray(ImageOps.exif_transpose(turned))).numpy())
    look = tf.function(lambda encoded: pictures.views(encoded, 24)[:2], [tf.TensorSpec([None], tf.string)])
    assert len({view.tobytes() for view in look(asked)[0].numpy()}) == 2 * 8
    for ours, expected in zip(look(asked), look(upright), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_class_asked_for_and_tensors(model, files, workdir, small_config):
    trained = runs.trained_model(small_config, workdir)
    views = tf.stack([data.original_view(folder.decode_image(path.read_bytes()), 48)[0] for path in files])
    encoded = tf.constant([path.read_bytes() for path in files])
    for class_ids in ([0, 1, 2], [2, 2, 0]):
        answer = model.signatures["explain_class"](image_bytes=encoded, class_id=tf.constant(class_ids))
        check(answer, {"heatmap": peaked(trained.explain(views, tf.constant(class_ids))["heatmap"])})
    small = views[:, 3:40, :41]
    expected = trained.explain(small)
    expected = {"probabilities": expected["probabilities"], "heatmap": peaked(expected["heatmap"])}
    check(model.signatures["explain_tensor"](images=tf.cast(small, tf.float32)), expected)
    check(model.signatures["explain_tensor_uint8"](images=small), expected)
    check(model.signatures["predict_tensor_uint8"](images=small), expected, ["probabilities"])
    check(model.signatures["predict_tensor"](images=tf.cast(small, tf.float32)), expected, ["probabilities"])


def test_consistency_is_the_cosine_of_maps_carried_to_the_copies(model, files, workdir, small_config):
    """Against the maps themselves, resized, cut and mirrored at the view's size."""
    trained, size, edge = runs.trained_model(small_config, workdir), 48, 6
    encoded = tf.constant([path.read_bytes() for path in files])
    answer = model.signatures["explain_checked"](image_bytes=encoded)
    views = tf.stack([data.original_view(folder.decode_image(one), size)[0] for one in encoded])
    ids = answer["class_id"]

    def full(images):
        return tf.image.resize(trained.explain(images, ids)["heatmap"][..., None], [size, size])

    def cosine(a, b):
        a, b = (tf.reshape(one, [3, -1]) for one in (a, b))
        return tf.reduce_sum(a * b, 1) / tf.norm(a, axis=1) / tf.norm(b, axis=1)

    crop = slice(edge, size - edge)
    cropped = geometry.resize_image(views[:, crop, crop], [size, size], enlarges=True)
    own = full(views)
    expected = [
        cosine(own[:, :, ::-1], full(views[:, :, ::-1])),
        cosine(tf.image.resize(own[:, crop, crop], [size, size]), full(cropped)),
    ]
    np.testing.assert_allclose(answer["consistency_by_copy"], tf.stack(expected, 1), atol=1e-4)
    np.testing.assert_allclose(answer["consistency"], tf.reduce_mean(expected, 0), atol=1e-4)
    assert np.ptp(answer["consistency_by_copy"]) > 1e-3


def test_overlay_is_what_figures_draws(model, files):
    encoded = tf.constant([path.read_bytes() for path in files])
    explained = model.signatures["explain"](image_bytes=encoded)
    for index, drawn in enumerate(model.signatures["overlay"](image_bytes=encoded)["overlay_png_bytes"].numpy()):
        image = folder.decode_image(encoded[index]).numpy()
        expected = figures.overlay(image, explained["heatmap"][index].numpy(), explained["heatmap_box"][index].numpy())
        difference = np.abs(tf.io.decode_png(drawn).numpy().astype(int) - expected)
        assert difference.shape == image.shape and difference.mean() < 0.6 and difference.max() <= 4


def test_verify_says_where(exported, workdir, tmp_path):
    assert set(verify.verify(exported)) >= {"serving_default.probabilities", "explain.heatmap", "explain_class.heatmap"}
    assert max(verify.verify(exported, verify.from_workdir(workdir, exported)).values()) <= verify.TOLERANCE
    copy = shutil.copytree(exported, tmp_path / "1")
    expected = json.loads((copy / artifact.EXAMPLES / "expected.json").read_text())
    expected["heatmap"][0][0][0] += 0.01
    (copy / artifact.EXAMPLES / "expected.json").write_text(json.dumps(expected))
    with pytest.raises(UserError, match=r"not as they were written: assets.extra/examples/expected.json$"):
        verify.verify(copy)
    artifact.write_sums(copy)
    with pytest.raises(UserError, match=r"explain\.heatmap differs by 0\.01"):
        verify.verify(copy)
    (copy / artifact.WARMUP).write_bytes(b"damaged")
    with pytest.raises(ValueError, match="is damaged"):
        artifact.read_warmup(copy)


def test_nothing_is_left_of_an_export_that_fails(workdir, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "write_sums", fail)
    with pytest.raises(UserError, match="No space left"):
        saved_model.export(workdir, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_onnx_answers_what_the_model_does(workdir, tmp_path):
    pytest.importorskip("tf2onnx", reason="it is in requirements-onnx.txt")
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


def test_serve_and_ask(exported, files, expected, tmp_path):
    """REST and gRPC answer what the model does, and the client's program draws it."""
    with Server(Model(exported.parent)) as server:
        for url in (server.rest_url, server.grpc_url):
            check(Client(url).explain([path.read_bytes() for path in files]), expected)
            output = tmp_path / "drawn.png"
            run = subprocess.run(
                [sys.executable, "-m", "export.client", f"--image={files[1]}", f"--url={url}", f"--output={output}"],
                cwd=pathlib.Path(__file__).parent.parent, capture_output=True, text=True, check=True,
            )  # fmt: skip
            assert "score" in run.stdout
            with Image.open(output) as drawn, Image.open(files[1]) as picture:
                assert drawn.size == picture.size
                assert (np.asarray(drawn) != np.asarray(picture)).any()
            output.unlink()


def test_what_cannot_be_exported(tmp_path, workdir):
    with pytest.raises(UserError, match="is no workdir"):
        saved_model.export(tmp_path, tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        saved_model.export(workdir, tmp_path / "file")
