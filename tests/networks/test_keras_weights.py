"""Files of Keras' weights, read into a network by its layers' names."""

import h5py
import keras
import numpy as np
import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.networks import backbones, registry


@pytest.mark.sampled
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
    rng, network = np.random.default_rng(0), registry.build("applications:VGG16", "none")[0]
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
