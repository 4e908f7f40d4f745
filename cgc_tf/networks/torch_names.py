"""What PyTorch's libraries call the layers of the networks that KerasHub has, too.

KerasHub's `ResNetBackbone(use_pre_activation=False)` computes what torchvision's ResNet does, so the weights of
torchvision, of timm's plain ResNets, of the CGC release and of SwAV fit it as they are. Its `EfficientNetBackbone` with
TensorFlow's padding computes what the package EfficientNet-PyTorch does.
"""

import dataclasses
import re
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Naming:
    """How one library names the layers of one family of networks.

    Attributes:
        of: what it names, in words.
        classifier: the last layer's name in PyTorch.
        place: Keras' name of a layer -> where the layer stands in PyTorch's order, a tuple to sort by, and its name
            there; None for a layer that this family does not have. The block of an EfficientNet is numbered by its
            place among the blocks: a `{}` stands for the number.
        heads: what the names of layers begin with that are trained beside the network and left out.
    """

    of: str
    classifier: str
    place: Callable[[str], tuple[tuple, str] | None]
    heads: tuple[str, ...] = ()


_RESNET = re.compile(r"(?:conv1|stack(\d+)_block(\d+)_([0-3]))_(conv|bn)")


def _of_resnet(name):
    """stack0_block1_2_conv is layer1.1.conv2; a shortcut, which has the number 0, comes last in its block."""
    match = _RESNET.fullmatch(name)
    if not match:
        return None
    stack, block, index, kind = match.groups()
    is_norm = kind == "bn"
    if stack is None:
        return (-1, 0, 0, is_norm), f"{kind}1"
    unit, is_shortcut = f"layer{int(stack) + 1}.{block}", index == "0"
    place = int(stack), int(block), 9 if is_shortcut else int(index), is_norm
    return place, f"{unit}.downsample.{int(is_norm)}" if is_shortcut else f"{unit}.{kind}{index}"


_EFFICIENTNET = re.compile(r"block(\d+)([a-z])_(.+)")
_ENDS = {"stem_conv": "_conv_stem", "stem_bn": "_bn0", "top_conv": "_conv_head", "top_bn": "_bn1"}
# The parts of a block in PyTorch's order, each under the names that KerasHub's two kinds of blocks have for it.
_PARTS = {
    "_expand_conv": ("expand_conv",),
    "_bn0": ("expand_bn",),
    "_depthwise_conv": ("dwconv", "dwconv2"),
    "_bn1": ("dwconv_bn", "bn"),
    "_se_reduce": ("se_reduce",),
    "_se_expand": ("se_expand",),
    "_project_conv": ("project", "project_conv"),
    "_bn2": ("project_bn",),
}


def _of_efficientnet(name):
    """block2a_expand_conv is _blocks.1._expand_conv where block1a is the only block before it."""
    if name in _ENDS:
        index = list(_ENDS).index(name)
        return (99 if name.startswith("top") else 0, "", index), _ENDS[name]
    match = _EFFICIENTNET.fullmatch(name)
    for index, (part, names) in enumerate(_PARTS.items()):
        if match and match[3] in names:
            return (int(match[1]), match[2], index), f"_blocks.{{}}.{part}"
    return None


TORCHVISION_RESNET = Naming(
    "a ResNet in torchvision's naming", "fc", _of_resnet, heads=("projection_head.", "prototypes.")
)
EFFICIENTNET_PYTORCH = Naming("an EfficientNet in EfficientNet-PyTorch's naming", "_fc", _of_efficientnet)
