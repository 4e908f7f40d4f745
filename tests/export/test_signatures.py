"""What an exported model answers: pictures of every kind, good and bad, in every signature."""

import io
import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from cgc_tf.data.pictures import decode_image
from cgc_tf.data.views import original_view
from cgc_tf.method import resizing
from cgc_tf.method.model import CGCModel
from cgc_tf.method.overlay import overlay
from cgc_tf.training import run_folder
from export import saved_model, verify
from export.artifact import pictures
from export.artifact.signatures import Signatures
from export.client import Client
from export.serving.connections import BadRequest
from export.serving.loopback import Server
from export.serving.versions import Model


def check(answer, expected, names=None):
    for name in names or expected:
        np.testing.assert_allclose(answer[name], expected[name], atol=1e-5, err_msg=name)


@pytest.fixture(scope="module")
def model(exported):
    return tf.saved_model.load(str(exported))


def peaked(heatmap):
    return tf.math.divide_no_nan(heatmap, tf.reduce_max(heatmap, [1, 2], keepdims=True))


def pictures_of(batch):
    """Whether each of a batch of encoded pictures is decoded."""
    return tf.function(lambda encoded: pictures.views(encoded, 48))(tf.constant(batch))[2].numpy().tolist()


def test_bad_examples_are_named_by_their_place(workdir, files, tmp_path):
    """With --on_bad_image=error."""
    model = tf.saved_model.load(str(saved_model.export(workdir, tmp_path, on_bad_image="error")))
    good = files[0].read_bytes()
    batch = tf.constant([good, b"", files[2].read_bytes()[:-30], good, b"\x89PNG", b"no picture"])
    for name in ("serving_default", "explain", "explain_checked", "overlay"):
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"at these places of the batch, from 0:\] \[1 2 4 5\]"
        ):
            model.signatures[name](image_bytes=batch)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"no class from 0 to 2 .*\[1\]"):
        model.signatures["explain_class"](image_bytes=tf.constant([good] * 2), class_id=tf.constant([2, 3]))
    images = np.zeros([3, 48, 48, 3], np.float32)
    images[2, 0, 0, 0] = np.nan
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"no finite answer .*\[2\]"):
        model.signatures["explain_tensor"](images=tf.constant(images))


@pytest.mark.slow
def test_a_blank_answer_leaves_the_others_as_they_are(workdir, exported, model, files, tmp_path):
    """And half the bytes: the options need one export."""
    version = saved_model.export(workdir, tmp_path, precision="float16", max_pixels=20_000)
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
    for kind in ("JPEG", "PNG", "GIF", "BMP", "WebP"):
        stream = io.BytesIO()
        Image.fromarray(np.full([30, 40, 3], 99, np.uint8)).save(stream, kind)
        kinds.append(stream.getvalue())
    sizes = [tf.io.encode_png(np.zeros([*size, 3], np.uint8)).numpy() for size in ((1, 1), (1, 300), (1, 30_000))]
    # A strip of one pixel by thirty thousand would be enlarged to 55 by 1.6 million.
    assert pictures_of([*kinds, *sizes]) == [True] * 7 + [False]


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
        image = decode_image(stream.getvalue()).numpy()
        with Image.open(stream) as written:
            turned = Image.fromarray(image)
            turned.getexif()[0x0112] = written.getexif().get(0x0112, 1)
            upright.append(tf.io.encode_png(np.asarray(ImageOps.exif_transpose(turned))).numpy())
    look = tf.function(lambda encoded: pictures.views(encoded, 24)[:2], [tf.TensorSpec([None], tf.string)])
    assert len({view.tobytes() for view in look(asked)[0].numpy()}) == 2 * 8
    for ours, expected in zip(look(asked), look(upright), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_an_image_too_small_for_the_network_is_refused():
    """Two poolings need four pixels. VGG16's fifth, of less than 32, ended as ABORTED, which clients try again."""
    images = keras.Input((None, None, 3))
    features = images
    for channels in (4, 8):
        features = keras.layers.MaxPooling2D()(keras.layers.Conv2D(channels, 3, padding="same")(features))
    outputs = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(features))
    model = CGCModel.from_classifier(keras.Model(images, outputs))
    predict = Signatures(model, "abc", 32).all()["predict_tensor"]
    assert predict(tf.zeros([1, 4, 5, 3]))["class_id"].shape == [1]
    with pytest.raises(tf.errors.InvalidArgumentError, match="sides from 4"):
        predict(tf.zeros([1, 3, 9, 3]))


def test_class_asked_for_and_tensors(model, files, workdir, small_config):
    trained = run_folder.trained_model(small_config, workdir)
    views = tf.stack([original_view(decode_image(path.read_bytes()), 48)[0] for path in files])
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
    trained, size, edge = run_folder.trained_model(small_config, workdir), 48, 6
    encoded = tf.constant([path.read_bytes() for path in files])
    answer = model.signatures["explain_checked"](image_bytes=encoded)
    views = tf.stack([original_view(decode_image(one), size)[0] for one in encoded])
    ids = answer["class_id"]

    def full(images):
        return tf.image.resize(trained.explain(images, ids)["heatmap"][..., None], [size, size])

    def cosine(a, b):
        a, b = (tf.reshape(one, [3, -1]) for one in (a, b))
        return tf.reduce_sum(a * b, 1) / tf.norm(a, axis=1) / tf.norm(b, axis=1)

    crop = slice(edge, size - edge)
    cropped = resizing.resize_image(views[:, crop, crop], [size, size], enlarges=True)
    own = full(views)
    expected = [
        cosine(own[:, :, ::-1], full(views[:, :, ::-1])),
        cosine(tf.image.resize(own[:, crop, crop], [size, size]), full(cropped)),
    ]
    np.testing.assert_allclose(answer["consistency_by_copy"], tf.stack(expected, 1), atol=1e-4)
    np.testing.assert_allclose(answer["consistency"], tf.reduce_mean(expected, 0), atol=1e-4)
    assert np.ptp(answer["consistency_by_copy"]) > 1e-3


@pytest.mark.slow
def test_overlay_is_what_figures_draws(model, files):
    encoded = tf.constant([path.read_bytes() for path in files])
    explained = model.signatures["explain"](image_bytes=encoded)
    for index, drawn in enumerate(model.signatures["overlay"](image_bytes=encoded)["overlay_png_bytes"].numpy()):
        image = decode_image(encoded[index]).numpy()
        expected = overlay(image, explained["heatmap"][index].numpy(), explained["heatmap_box"][index].numpy())
        difference = np.abs(tf.io.decode_png(drawn).numpy().astype(int) - expected)
        assert difference.shape == image.shape and difference.mean() < 0.6 and difference.max() <= 4


def test_a_heatmap_that_shows_nothing_is_not_consistent(workdir, small_config, files):
    network = run_folder.trained_model(small_config, workdir)
    network.head.get_layer("classifier").kernel.assign(tf.zeros([network.head.input_shape[-1], 3]))
    answer = Signatures(network, ["a", "b", "c"], 48).explain_checked(tf.constant([files[0].read_bytes()]))
    assert not np.any(answer["heatmap"]) and not np.any(answer["consistency_by_copy"])
    assert answer["consistency"].numpy().tolist() == [0.0]
