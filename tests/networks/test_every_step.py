"""Networks of every family through all that a run goes through; what came of each is a row of a table (`pytest -s`).

With `CGC_EVERY_BACKBONE=1` they are all that can be built without a download, which takes hours.
"""

import dataclasses
import json
import os

import pytest

from cgc_tf.networks import registry

pytestmark = pytest.mark.long

SOME = {  # and settings that go with them
    "resnet8": {},
    "resnet50": {},
    "resnetv2_50": {},
    "efficientnet_b0": {},
    "efficientnet_lite0": {},
    "efficientnet_es": {},
    "tf_efficientnet_b0": {},
    "efficientnetv2_rw_t": {},
    "mobilenetv3_small_050": {},
    "hgnetv2_b0": {},
    "densenet121": {},
    "cspresnet50": {},
    "darknet53": {},
    "vgg11": {},
    "vit_mini": {},
    "deit_tiny": {},
    "dinov2_small": {"image_size": 56},
    "swin_tiny": {"image_size": 224, "batch_size": 4},
    "applications:ConvNeXtTiny": {},
    "applications:DenseNet121": {},
    "applications:EfficientNetB0": {"precision": "mixed_bfloat16"},
    "applications:EfficientNetV2B0": {},
    "applications:InceptionV3": {"image_size": 128},
    "applications:InceptionResNetV2": {"image_size": 128},
    "applications:MobileNet": {},
    "applications:MobileNetV2": {"explain_layer": "block_13_expand_relu"},
    "applications:MobileNetV3Small": {},
    "applications:NASNetMobile": {},
    "applications:ResNet50V2": {},
    "applications:VGG16": {"hidden_units": (32, 32)},
    "applications:Xception": {},
    "keras_cv:EfficientNetV2B0Backbone": {},
    "keras_cv:ResNet50Backbone": {},
}
NO_ONNX = {  # where it may be refused, and what the refusal says
    "applications:EfficientNetB0": "ONNX differs from the trained model by",
    "resnetv2_50": "ONNX differs from the trained model by",
    "applications:MobileNetV2": "No Op registered for ShapeN",
    "applications:VGG16": "No Op registered for ReluGrad",
}
ROUNDING = {"swin_tiny"}  # whose bits are not the same each time
EVERY = [name for name, is_here, _ in registry.known() if is_here] if os.environ.get("CGC_EVERY_BACKBONE") else []


@pytest.mark.parametrize("name", dict.fromkeys([*SOME, *EVERY]))
def test_every_step(name, small_config, programs, tmp_path):
    settings = {"image_size": 64, **SOME.get(name, {})}
    # At a learning rate at which none diverges: of features in the thousands rounding makes other heatmaps.
    config = dataclasses.replace(small_config, backbone=name, keep_checkpoints=2, learning_rate=1e-4, **settings)
    config.save(tmp_path)
    done = programs.run("tests/helpers/every_step.py", tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    came = json.loads(done.stdout.splitlines()[-1])
    print(f"\n{name:<34}" + ", ".join(f"{step}: {what}" for step, what in came.items()))
    onnx = came.pop("onnx")
    is_known = name in NO_ONNX and onnx.startswith("refused: ") and NO_ONNX[name] in onnx
    assert onnx == "ok" or is_known, onnx
    if name in ROUNDING and came["resume"].endswith("other bits than without the stop"):
        del came["resume"]
    assert set(came.values()) == {"ok"}, came
