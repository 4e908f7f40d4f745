"""Local files of weights, read into a network before training."""

import contextlib
import pathlib
import zipfile

import h5py
import keras

from cgc_tf.common.errors import UserError, first_few, first_line
from cgc_tf.common.files import PathLike


def check(path: PathLike) -> None:
    """Raises `UserError` unless `path` is a file of the kind that its name says."""
    if not pathlib.Path(path).is_file():
        raise UserError(f"{path}: no such file of weights")
    if not (zipfile.is_zipfile(path) if str(path).endswith(".keras") else h5py.is_hdf5(path)):
        raise UserError(f"{path} is damaged, or not a file of weights: use a .h5, .weights.h5 or .keras file")


def load_by_name(path: PathLike, network: keras.Model) -> None:
    """Reads a file of Keras 2 or 3, `.h5`, `.weights.h5` or `.keras`, into a backbone, layer by layer, by name.

    Says on stdout how many layers were matched, and which were not. The head is not read: its classes are another
    dataset's. Nothing of the model that a file describes is made, and only arrays of the right shape are read.

    Raises:
        UserError: the file is missing or damaged, a layer has another shape, or no name matches.
    """
    check(path)
    layers = {layer.name: layer for layer in network._flatten_layers(include_self=False) if _is_leaf(layer)}
    try:
        with _opened(path) as file:
            stored = _stored(file)
            matched = [name for name in layers if name in stored]
            _check_shapes(stored, {name: layers[name] for name in matched}, network.name)
            for name in matched:
                layers[name].set_weights([array[()] for array in stored[name]])
    except Exception as error:  # damaged bytes make HDF5 and zip fail in many ways
        raise UserError(f"{path} cannot be read into {network.name}: {first_line(error)}") from error
    print(f"weights: {len(matched)} of {len(layers)} layers of {network.name} loaded by name from {path}")
    if absent := [name for name in layers if name not in stored]:
        print(f"weights: not in the file: {first_few(absent)}")
    if others := [name for name in stored if name not in layers]:
        print(f"weights: left out of the file: {first_few(others)}")


def _is_leaf(layer):
    return bool(layer.weights) and not any(part.weights for part in layer._flatten_layers(include_self=False))


def _check_shapes(stored, layers, network):
    if not layers:
        raise ValueError(f"none of its {len(stored)} layers has a name of {network}'s")
    misshapen = [
        f"{name} {[list(array.shape) for array in stored[name]]} instead of {[list(w.shape) for w in layer.weights]}"
        for name, layer in layers.items()
        if [array.shape for array in stored[name]] != [tuple(w.shape) for w in layer.weights]
    ]
    if misshapen:
        raise ValueError(f"{len(misshapen)} layers of other shapes, first {misshapen[0]}")


@contextlib.contextmanager
def _opened(path):
    """The HDF5 file of weights that `path` is, or that it holds as a `.keras` archive."""
    with contextlib.ExitStack() as stack:
        if str(path).endswith(".keras"):
            archive = stack.enter_context(zipfile.ZipFile(path))
            path = stack.enter_context(archive.open("model.weights.h5"))
        yield stack.enter_context(h5py.File(path))


def _stored(file):
    """The arrays of each layer, not read yet: {layer's name: [HDF5 datasets in the order of the layer's weights]}."""
    stored = {}

    def keep(_, group):  # as Keras 3 writes .keras and .weights.h5
        if isinstance(group, h5py.Group) and "name" in group.attrs and len(group):
            stored[group.attrs["name"]] = [group[key] for key in sorted(group, key=int)]

    if "layers" in file:
        file.visititems(keep)
        return stored
    for group in file.get("model_weights", file).values():  # as Keras 2 and 3 write .h5
        for name in group.attrs.get("weight_names", []):
            name = name.decode() if isinstance(name, bytes) else name
            layer = name.split("/")[-2] if "/" in name else group.name.split("/")[-1]
            stored.setdefault(layer, []).append(group[name])
    return stored
