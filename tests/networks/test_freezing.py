"""Which layers of a backbone stay as they are."""

import keras
import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.networks import backbones, freezing


@pytest.mark.sampled
@pytest.mark.parametrize(
    ("name", "last_frozen", "first_trained"),
    [
        ("resnet8", "stack1_block0_2_bn", "stack2_block0_1_conv"),
        ("resnet50", "stack2_block5_3_bn", "stack3_block0_1_conv"),
        ("efficientnet_b0", "block6a_expand_bn", "block6a_dwconv"),  # where the map is halved, in its sixth block
        ("applications:MobileNetV2", "block_13_expand_BN", "block_13_depthwise"),
        ("applications:VGG16", "block4_conv3", "block5_conv1"),  # although a pooling halves the map once more
        ("applications:DenseNet121", "pool4_conv", "conv5_block1_0_bn"),
    ],
)
def test_the_last_stage_is_trained_and_no_other(name, last_frozen, first_trained):
    backbone = backbones.build_backbone(name, "none", 64)
    freezing.freeze(backbone, "stages")
    weighted = [layer for layer in backbone.layers if layer.weights]
    frozen = [layer.name for layer in weighted if not layer.trainable]
    trained = [layer.name for layer in weighted if layer.trainable]
    assert frozen[-1] == last_frozen and trained[0] == first_trained
    assert [*frozen, *trained] == [layer.name for layer in weighted]  # in the order of the network
    freezing.freeze(backbone, "backbone")
    assert not backbone.trainable_variables


def network(*layers):
    images = tensor = keras.Input((None, None, 3))
    for layer in layers:
        tensor = layer(tensor)
    return keras.Model(images, tensor, name="own")


def test_borders_make_no_stage():
    """Convolutions without padding make a map smaller by two pixels each."""
    convolutions = [keras.layers.Conv2D(2, 3, strides) for strides in (2, 1, 1, 2, 1, 1)]
    freezing.freeze(network(*convolutions), "stages")
    assert [layer.trainable for layer in convolutions] == [False] * 3 + [True] * 3


@pytest.mark.parametrize(
    "layers", [[keras.layers.Conv2D(2, 3)], [keras.layers.MaxPooling2D(), keras.layers.Conv2D(2, 3)]]
)
def test_one_stage_is_refused(layers):
    with pytest.raises(UserError, match=r"^--freeze=stages: own has no stage with weights before"):
        freezing.freeze(network(*layers), "stages")
