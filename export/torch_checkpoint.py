"""Exports a trained ResNet as a PyTorch state_dict under torchvision's names.

  python -m export.torch_checkpoint --workdir=runs/A --output=model.pth

writes what `torchvision.models.resnet50(num_classes=N).load_state_dict(torch.load("model.pth"))` takes, for whichever
depth was trained. `--output=model.safetensors` holds the same tensors and needs no PyTorch. The network wants what
torchvision's own weights want: RGB in 0..1, less ImageNet's mean, over its standard deviation.
"""

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import keras
import numpy as np
from absl import flags

from cgc_tf.common import errors, program
from cgc_tf.common.files import PathLike
from cgc_tf.method.model import CGCModel
from cgc_tf.networks import torch_files, torch_weights
from cgc_tf.networks.preprocessing import imagenet_normalization
from cgc_tf.training import config as settings
from cgc_tf.training import run_folder


def export(workdir: PathLike, output: PathLike) -> int:
    """Writes a trained run's weights to `output`; returns how many tensors that were.

    Raises:
        UserError: the workdir cannot be read, `output` cannot be written, the backbone is not one of torchvision's
            ResNets, or the head is not average pooling and one linear layer.
    """
    torch_files.check_writable(output)
    config = settings.Config.load(workdir)
    model = run_folder.trained_model(config, workdir)
    try:
        tensors = state_dict(model)
    except errors.UserError as error:
        raise errors.UserError(f"{workdir} (backbone {config.backbone}) cannot be written: {error}") from error
    torch_files.write_tensors(output, tensors)
    return len(tensors)


def state_dict(model: CGCModel) -> dict[str, np.ndarray]:
    """The tensors of a model, trunk and head, under torchvision's names; see `torch_weights.to_torch`.

    Raises:
        UserError: the model computes something else than torchvision's ResNet on images normalized as its own are.
    """
    layers = {layer.name: layer for layer in model._flatten_layers(include_self=False)}
    dense = [layer for layer in layers.values() if isinstance(layer, keras.layers.Dense)]
    pooled = [layer for layer in layers.values() if isinstance(layer, keras.layers.GlobalAveragePooling2D)]
    if len(dense) != 1 or len(pooled) != 1:
        raise errors.UserError("its head is not average pooling and one linear layer")
    tensors = torch_weights.to_torch({name: x for name, x in layers.items() if x not in dense}, dense[0])
    theirs, rescalings = imagenet_normalization(), [x for x in layers.values() if isinstance(x, keras.layers.Rescaling)]
    if not all(np.allclose(x.scale, theirs.scale) and np.allclose(x.offset, theirs.offset) for x in rescalings):
        raise errors.UserError("it normalizes images by another mean and deviation than ImageNet's")
    return tensors


def main(_):
    workdir = flags.FLAGS.workdir or settings.newest_workdir()
    print(f"exporting {run_folder.in_words(workdir)}")
    count = export(workdir, flags.FLAGS.output)
    print(f"exported: {flags.FLAGS.output}, {count} tensors of {workdir}")


def define_flags():
    """Defines the flags: which run, and the file."""
    flags.DEFINE_string("workdir", None, "Folder of a trained run (default: the newest under runs/).")
    flags.DEFINE_string("output", "model.pth", "File to write: .pth, .pt or .safetensors.")


if __name__ == "__main__":
    program.run(main)
