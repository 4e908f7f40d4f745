"""The registry: what it builds, what it refuses, and weights from local files."""

import dataclasses
import json
import pathlib

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf import architectures, backbones, data, folder, gradcam, runs, split, torch_files, training
from cgc_tf.errors import UserError
from cgc_tf.preprocessing import IMAGENET_MEAN, IMAGENET_STD
from export import saved_model, torch_checkpoint


@pytest.mark.parametrize(
    ("name", "size", "features"),
    [
        ("resnet8", 80, (5, 5, 256)),
        ("resnet18", 64, (2, 2, 512)),
        ("applications:MobileNetV2", 64, (2, 2, 1280)),
        ("efficientnet_b0", 64, (2, 2, 1280)),
        ("keras_cv:EfficientNetV2B0Backbone", 64, (2, 2, 1280)),
        ("keras_cv:ResNet18Backbone", 64, (2, 2, 512)),
    ],
)
def test_builds_and_explains(name, size, features):
    trunk = backbones.build_backbone(name, "none", size)
    _, head = split.split(backbones.add_classifier(trunk, 3))
    images = np.random.default_rng(0).integers(0, 256, (2, size, size, 3)).astype("uint8")
    output = trunk(images)
    assert output.shape == (2, *features)
    logits, gradients, _ = gradcam.class_gradients(head, output)
    assert logits.shape == (2, 3) and gradients.shape == output.shape
    layers = [layer for layer in trunk._flatten_layers() if isinstance(layer, keras.layers.BatchNormalization)]
    assert layers and {layer.momentum for layer in layers} == {0.9}


def test_keras_cv_architectures_are_the_librarys_own():
    """KerasCV states the number of parameters of each preset."""
    from keras_cv.src.models.backbones.efficientnet_v2 import efficientnet_v2_backbone_presets as efficient
    from keras_cv.src.models.backbones.resnet_v1 import resnet_v1_backbone_presets as resnets

    for name, preset in (("EfficientNetV2B0Backbone", "efficientnetv2_b0"), ("ResNet50Backbone", "resnet50")):
        stated = {**efficient.backbone_presets, **resnets.backbone_presets}[preset]["metadata"]["params"]
        assert backbones.build_backbone(f"keras_cv:{name}", "none", 64).count_params() == stated


def test_resnet_normalises_as_torchvision():
    trunk = backbones.build_backbone("resnet8", "none", 80)
    colour = np.array([[[[124, 10, 250]]]], np.float32)
    normalised = trunk.get_layer("imagenet_normalisation")(colour)
    expected = (colour / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(normalised, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "weights", "size", "message"),
    [
        ("resnet51", "none", 64, "unknown --backbone=resnet51; known: resnet8, resnet18"),
        ("torch:resnet50", "none", 64, "known: keras_hub, applications, keras_cv"),
        ("applications:MobileNetV9", "none", 64, "known: "),
        ("keras_cv:YOLO", "none", 64, "unknown --backbone=keras_cv:YOLO"),
        ("resnet18", "none", 32, "its feature map would be 1x1"),
        ("resnet8", "imagenet", 64, "resnet8 has no ImageNet weights"),
        ("resnet8", "absent.h5", 64, "absent.h5: no such file of weights"),
        ("resnet8", "imagnet", 64, "--weights=imagnet is none of: none, imagenet, a KerasHub preset"),
        ("applications:VGG16", "x.safetensors", 64, "--weights=x.safetensors is for KerasHub's ResNets alone"),
        ("keras_cv:ResNet18Backbone", "imagenet", 64, "keras_cv:ResNet18Backbone has no presets of ImageNet"),
    ],
)
def test_refuses(name, weights, size, message):
    with pytest.raises(UserError) as caught:
        backbones.build_backbone(name, weights, size)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("ending", [".h5", ".keras", ".weights.h5"])
def test_loads_a_keras_file_by_name(ending, tmp_path, capsys):
    """A whole model of another size and head, saved as a file, gives a backbone its layers of the same names."""
    network = keras.applications.MobileNetV2(include_top=False, weights=None, input_shape=(96, 96, 3))
    whole = keras.Sequential(
        [keras.Input((96, 96, 3)), network, keras.layers.Flatten(), keras.layers.Dense(5, name="old")]
    )
    for weight in network.weights:
        weight.assign(np.random.default_rng(1).random(weight.shape) + 0.1)
    path = tmp_path / f"mobilenet{ending}"
    (whole.save_weights if ending == ".weights.h5" else whole.save)(path)
    trunk = backbones.build_backbone("applications:MobileNetV2", str(path), 96)
    said = capsys.readouterr().out
    assert "104 of 104 layers" in said and "left out of the file: old" in said and "not in the file" not in said
    images = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3)).astype("float32")
    np.testing.assert_allclose(trunk(images), network(images / 127.5 - 1), rtol=1e-4, atol=1e-4)


def write_keras2(path, layers):
    """Writes {layer: arrays} as Keras 2 does with `save_weights("x.h5")`, by names alone."""
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, arrays in layers.items():
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{index}:0".encode() for index in range(len(arrays))]
            for index, array in enumerate(arrays):
                group[f"{name}/{index}:0"] = array


def test_loads_a_file_of_keras_2_and_says_what_is_missing(tmp_path, capsys):
    rng, network = np.random.default_rng(0), architectures.build("applications:VGG16", "none")[0]
    layers = {
        layer.name: [rng.random(w.shape, "float32") for w in layer.weights] for layer in network.layers if layer.weights
    }
    absent = ["block1_conv1", "block2_conv1", "block3_conv1", "block4_conv1"]
    stored = {name: arrays for name, arrays in layers.items() if name not in absent}
    write_keras2(tmp_path / "vgg.h5", {**stored, "fc1": [np.ones((2, 2))]})
    trunk = backbones.build_backbone("applications:VGG16", str(tmp_path / "vgg.h5"), 64)
    said = capsys.readouterr().out
    assert "weights: 9 of 13 layers of vgg16 loaded by name" in said
    assert "not in the file: block1_conv1, block2_conv1, block3_conv1 and 1 more" in said
    assert "left out of the file: fc1" in said
    np.testing.assert_array_equal(trunk.get_layer("block5_conv3").kernel, layers["block5_conv3"][0])
    layers["block5_conv3"][0] = layers["block5_conv3"][0][..., :7]
    write_keras2(tmp_path / "vgg.h5", layers)
    with pytest.raises(UserError, match=r"1 layers of other shapes, first block5_conv3 \[\[3, 3, 512, 7\], \[512\]\]"):
        backbones.build_backbone("applications:VGG16", str(tmp_path / "vgg.h5"), 64)


def test_refuses_files_of_weights_that_do_not_fit(tmp_path):
    damaged = tmp_path / "damaged.h5"
    damaged.write_bytes(b"not HDF5")
    with pytest.raises(UserError, match="is damaged, or not a file of weights"):
        backbones.build_backbone("resnet8", str(damaged), 64)
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="unknown")])
    for ending, message in ((".keras", "is damaged, or not a file"), (".h5", "cannot be read into resnet8: ")):
        truncated = tmp_path / f"truncated{ending}"
        other.save(truncated)
        truncated.write_bytes(truncated.read_bytes()[:-200])
        with pytest.raises(UserError, match=message):
            backbones.build_backbone("resnet8", str(truncated), 64)
    other.save(tmp_path / "other.h5")
    with pytest.raises(UserError, match="none of its 1 layers has a name of resnet8's"):
        backbones.build_backbone("resnet8", str(tmp_path / "other.h5"), 64)


def resnet8():
    from keras_hub.models import ResNetBackbone

    return ResNetBackbone([64], [7], [64, 128, 256], [1, 1, 1], [1, 2, 2], "basic_block", use_pre_activation=False)


def test_loads_a_keras_hub_preset_folder(tmp_path, capsys):
    """A folder that KerasHub wrote gives its weights to the network of that architecture, and to no other."""
    import keras_hub

    network, preset = resnet8(), str(tmp_path / "preset")
    network.save_to_preset(preset)
    loaded = backbones.build_backbone("resnet8", preset, 64)
    for ours, theirs in zip(loaded.weights, network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert "does not say how images are normalised; ImageNet's" in capsys.readouterr().out
    assert loaded.get_layer("imagenet_normalisation")
    with pytest.raises(UserError, match="of other shapes than --backbone=resnet18"):
        backbones.build_backbone("resnet18", preset, 64)
    with pytest.raises(UserError, match="is a preset of KerasHub, and --backbone=keras_cv:ResNet18Backbone no network"):
        backbones.build_backbone("keras_cv:ResNet18Backbone", preset, 64)
    keras_hub.layers.ResNetImageConverter(scale=1 / 127.5, offset=-1).save_to_preset(preset)
    normalised = backbones.build_backbone("resnet8", preset, 64).get_layer("normalisation")
    np.testing.assert_allclose(normalised(np.array([[[[0, 127.5, 255]]]])), [[[[-1, 0, 1]]]])


def test_imagenet_is_torchvisions_for_resnets(tmp_path, monkeypatch):
    """`--weights=imagenet` asks for timm's copy of torchvision's weights, a safetensors file under PyTorch's names."""
    import huggingface_hub

    network = backbones.build_backbone("resnet18", "none", 64)
    for index, weight in enumerate(network.weights):
        weight.assign(np.random.default_rng(index).random(weight.shape))
    tensors = torch_checkpoint.state_dict(backbones.add_classifier(network, 3))
    torch_files.write_tensors(tmp_path / "model.safetensors", tensors)
    pretrained = {"input_size": [3, 224, 224], "interpolation": "bilinear", "mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "pretrained_cfg": pretrained}))
    asked = set()

    def download(repo_id, filename):
        asked.add(repo_id)
        if not (tmp_path / filename).exists():
            raise huggingface_hub.errors.LocalEntryNotFoundError(filename)
        return str(tmp_path / filename)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    trunk = backbones.build_backbone("resnet18", "imagenet", 64)
    assert asked == {"timm/resnet18.tv_in1k"}
    for ours, theirs in zip(trunk.weights, network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    colour = np.array([[[[124, 10, 250]]]], np.float32)
    normalised = network.get_layer("imagenet_normalisation")(colour)
    np.testing.assert_allclose(trunk.get_layer("normalisation")(colour), normalised, atol=1e-5)


def test_imagenet_is_keras_cvs_own_preset(tmp_path, monkeypatch):
    import kagglehub
    from keras_cv.src.utils import preset_utils

    network = architectures.build("keras_cv:ResNet50Backbone", "none")[0]
    preset_utils.save_to_preset(network, str(tmp_path))
    asked = set()

    def download(handle, path):
        asked.add(handle)
        return str(tmp_path / path)

    monkeypatch.setattr(kagglehub, "model_download", download)
    trunk = backbones.build_backbone("keras_cv:ResNet50Backbone", "imagenet", 64)
    assert len(asked) == 1 and asked.pop().startswith("keras/resnetv1/keras/resnet50_imagenet")
    for ours, theirs in zip(trunk.weights, network.weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "preprocess"),
    [
        ("applications:VGG16", keras.applications.vgg16.preprocess_input),  # BGR less caffe's mean
        ("applications:MobileNetV2", keras.applications.mobilenet_v2.preprocess_input),  # -1..1
        ("applications:DenseNet121", keras.applications.densenet.preprocess_input),  # ImageNet's mean and deviation
        ("applications:EfficientNetB0", keras.applications.efficientnet.preprocess_input),  # within the network
        ("keras_cv:ResNet18Backbone", lambda images: images / 255),
    ],
)
def test_preprocesses_as_the_library(name, preprocess):
    trunk = backbones.build_backbone(name, "none", 64)
    network, _ = architectures.build(name, "none")
    network.set_weights(trunk.get_weights())
    if name.startswith("keras_cv"):
        inside = next(layer for layer in network.layers if isinstance(layer, keras.layers.Rescaling))
        inside.scale, inside.offset = 1.0, 0.0
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    images[..., 0] /= 4
    expected = np.asarray(network(preprocess(images.copy())))
    scale = np.abs(expected).max()
    np.testing.assert_allclose(trunk(images) / scale, expected / scale, atol=1e-4)
    assert "EfficientNetB0" in name or np.abs(network(images) - expected).max() > 0.01 * scale


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("resnet18", {}),
        pytest.param("resnet50", {}, marks=SLOW),
        pytest.param("efficientnet_b0", {}, marks=SLOW),
        pytest.param("applications:ConvNeXtTiny", {}, marks=SLOW),  # KerasHub has none
        pytest.param("keras_cv:EfficientNetV2B0Backbone", {}, marks=SLOW),
        pytest.param("keras_cv:ResNet50Backbone", {}, marks=SLOW),
        pytest.param("applications:MobileNetV2", {"explain_layer": "block_13_expand_relu"}, marks=SLOW),
        pytest.param("applications:DenseNet121", {}, marks=SLOW),
        pytest.param("applications:EfficientNetB0", {"precision": "mixed_bfloat16"}, marks=SLOW),
        pytest.param("applications:VGG16", {"hidden_units": (32, 32)}, marks=SLOW),
    ],
)
def test_trains_explains_saves_reloads_and_exports(name, settings, small_config, tmp_path):
    config = dataclasses.replace(small_config, backbone=name, image_size=64, epochs=1, **settings)
    workdir = training.train(config, tmp_path / "run")
    model = runs.trained_model(config, workdir)
    pictures = [path.read_bytes() for path in sorted(pathlib.Path(config.data_dir).glob("test/*/*"))]
    views = tf.stack([data.original_view(folder.decode_image(picture), 64)[0] for picture in pictures])
    expected = model.explain(views)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras").explain(views)
    version = saved_model.export(workdir, tmp_path / "exported")
    served = tf.saved_model.load(str(version)).signatures["explain"](tf.constant(pictures))
    peak = np.max(expected["heatmap"], (1, 2), keepdims=True)
    heatmap = expected["heatmap"] / np.where(peak > 0, peak, 1)
    assert heatmap.shape[1] >= 2 and np.any(peak > 0)
    np.testing.assert_allclose(again["heatmap"], expected["heatmap"], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(served["heatmap"], heatmap, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(served["probabilities"], expected["probabilities"], rtol=1e-4, atol=1e-5)
