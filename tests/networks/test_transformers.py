"""KerasHub's transformers: as the library's own, from its presets at any size; and a run of one, start to export."""

import dataclasses
import pathlib

import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data.pictures import decode_image
from cgc_tf.data.views import original_view
from cgc_tf.evaluation import evaluated_models
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.method.model import CGCModel
from cgc_tf.networks import backbones, freezing, registry, transformers
from cgc_tf.training import run_folder, train
from export import saved_model
from export.artifact.signatures import Signatures

SMALL = {"num_layers": 2, "num_heads": 2, "hidden_dim": 16}
LIBRARY = {  # KerasHub's own of the sizes of `small`
    "vit_mini": lambda side: keras_hub.models.ViTBackbone((side, side, 3), 8, mlp_dim=64, **SMALL),
    "deit_mini": lambda side: keras_hub.models.DeiTBackbone((side, side, 3), 8, intermediate_dim=64, **SMALL),
    "dinov2_mini": lambda side: keras_hub.models.DINOV2Backbone(
        14, intermediate_dim=64, image_shape=(side, side, 3), position_embedding_shape=(side, side), **SMALL
    ),
    "swin_mini": lambda side: keras_hub.models.SwinTransformerBackbone(
        (side, side, 3), 8, (1, 2, 1, 1), (1, 2, 2, 2), 2, drop_path=0.0
    ),
}


@pytest.fixture
def small(monkeypatch):
    """Makes `mini` as small as a test wants it, of each family."""
    monkeypatch.setitem(transformers.VIT, "mini", (2, 16, 2))
    monkeypatch.setitem(transformers.SWIN, "mini", (8, (1, 2, 1, 1), (1, 2, 2, 2), 2))
    monkeypatch.setattr(transformers, "NAMES", tuple(LIBRARY))


@pytest.mark.parametrize("name", ["deit_tiny", pytest.param("swin_tiny", marks=pytest.mark.slow)])
def test_architectures_are_the_librarys_own(name):
    """KerasHub states the number of parameters of each preset."""
    preset = transformers.imagenet(name)
    stated = keras_hub.models.Backbone.presets[preset]["metadata"]["params"]
    assert transformers.build(name, 224).count_params() == stated


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("name", "side"), [("vit_mini", 32), ("deit_mini", 32), ("dinov2_mini", 56), ("swin_mini", 64)]
)
def test_a_preset_gives_the_librarys_features(name, side, small, tmp_path):
    theirs, preset = LIBRARY[name](side), str(tmp_path / "preset")
    rng = np.random.default_rng(0)
    for weight in theirs.weights:
        if "interpolated" not in weight.path:
            weight.assign(rng.normal(size=weight.shape) * 0.3)
    if name == "dinov2_mini":
        theirs.embeddings.interpolated_position_embeddings.assign(theirs.embeddings.position_embeddings)
    theirs.save_to_preset(preset)
    ours = backbones.build_backbone(name, preset, side)
    images = rng.integers(0, 256, (2, side, side, 3)).astype("float32")
    expected = theirs(ours.get_layer("imagenet_normalization")(images))
    assert np.std(expected) > 0.1
    np.testing.assert_allclose(ours(images), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(UserError, match="of other shapes than --backbone"):
        backbones.build_backbone("deit_mini" if name == "vit_mini" else "vit_mini", preset, side)


def test_positions_at_another_size_are_as_dinov2_interpolates_them():
    """KerasHub's own code for DINOv2, which has one token that is no place; it stays as it is."""
    from keras_hub.src.models.dinov2.dinov2_layers import DINOV2Embedding

    positions = np.random.default_rng(0).normal(size=(1, 1 + 4 * 4, 6)).astype("float32")
    expected = DINOV2Embedding._interpolate_position_embeddings(positions, 14, (56, 56), (98, 98))
    np.testing.assert_allclose(transformers.resized_positions(positions, 1 + 7 * 7), expected[0], atol=1e-6)


def test_a_preset_of_another_size(small, tmp_path):
    LIBRARY["vit_mini"](32).save_to_preset(str(tmp_path / "preset"))
    assert backbones.build_backbone("vit_mini", str(tmp_path / "preset"), 48).output_shape == (None, 1 + 36, 16)


@pytest.mark.parametrize(
    ("name", "weights", "size", "message"),
    [
        ("vit_mini", "none", 100, "--image_size=100 does not fit vit_mini: it should be a multiple of 8"),
        ("swin_tiny", "none", 192, "does not fit swin_tiny: it should be a multiple of 32 and 224 or more"),
        ("vit_mini", "imagenet", 64, "--backbone=vit_mini has no ImageNet weights here"),
        ("vit_medium", "none", 64, "unknown --backbone=vit_medium"),
        ("vit_mini", "own.h5", 64, "layers of a transformer have no names of their own"),
    ],
)
def test_refuses(name, weights, size, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(600))
    with pytest.raises(UserError) as caught:
        backbones.build_backbone(name, weights, size)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_refuses_what_a_network_does_not_have(small):
    swin, vit = (backbones.build_backbone(name, "none", 64) for name in ("swin_mini", "vit_mini"))
    with pytest.raises(UserError, match="--pooling=token: --backbone=swin_mini has no class token"):
        backbones.add_classifier(swin, 3, "token")
    with pytest.raises(UserError, match="--freeze=stages: vit_mini is a transformer; use --freeze=backbone"):
        freezing.freeze(vit, "stages")
    assert {name for name, *_ in registry.known()} >= set(LIBRARY)


def test_images_are_of_one_size(small):
    """Since positions are: an evaluation is of center views, and the signatures of tensors say which size they take."""
    network = backbones.build_backbone("vit_mini", "none", 32)
    model = CGCModel.from_classifier(backbones.add_classifier(network, 3, "token"))
    known = {"image_size": 32}
    measured = evaluated_models.of_model(model, "vit", "", known, ("a", "b", "c"))
    assert measured.content_heatmap_on == "center views, labeled class"
    with pytest.raises(UserError, match="--ch_resize=64"):
        measured.check(Protocol(ch_resize=64))
    functions = Signatures(model, ("a", "b", "c"), 32).all()
    for name in ("explain_tensor", "predict_tensor_uint8"):
        assert functions[name].input_signature[0].shape.as_list() == [None, 32, 32, 3]


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["token", "average"])
def test_a_run_from_start_to_export(pooling, small, small_config, tmp_path):
    """It is continued, and exported."""
    config = dataclasses.replace(small_config, backbone="vit_mini", pooling=pooling, image_size=32, epochs=1)
    workdir = train.train(config, tmp_path / "run")
    train.train(dataclasses.replace(config, epochs=2), workdir, allow_changes=True)
    model = run_folder.trained_model(config, workdir)
    pictures = [path.read_bytes() for path in sorted(pathlib.Path(config.data_dir).glob("test/*/*"))[:4]]
    views = tf.stack([original_view(decode_image(picture), 32)[0] for picture in pictures])
    expected = model.explain(views)
    assert expected["heatmap"].shape == (4, 4, 4) and np.max(expected["heatmap"]) > 0
    signatures = tf.saved_model.load(str(saved_model.export(workdir, tmp_path / "exported"))).signatures
    served = signatures["explain"](tf.constant(pictures))
    peak = np.max(expected["heatmap"], (1, 2), keepdims=True)
    np.testing.assert_allclose(served["heatmap"], expected["heatmap"] / np.where(peak > 0, peak, 1), atol=1e-4)
    np.testing.assert_allclose(served["probabilities"], expected["probabilities"], atol=1e-5)
    with pytest.raises(tf.errors.InvalidArgumentError, match="32,32,3"):
        signatures["explain_tensor"](images=tf.zeros([1, 48, 48, 3]))
