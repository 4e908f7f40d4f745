"""Local files of weights, read into a network before training."""

import pathlib
import zipfile

import h5py

from cgc_tf.errors import UserError


def check(path):
    """Raises `UserError` unless `path` is a file of the kind that its name says."""
    if not pathlib.Path(path).is_file():
        raise UserError(f"{path}: no such file of weights")
    if not (zipfile.is_zipfile(path) if str(path).endswith(".keras") else h5py.is_hdf5(path)):
        raise UserError(f"{path} is damaged, or not a file of weights: use a .h5, .weights.h5 or .keras file")


def load_by_name(path, network):
    """Reads a whole-model `.h5` of Keras 2 or 3, a `.weights.h5` or a `.keras` file into a backbone, by layers' names.

    Says on stdout how many layers were matched. The head is not read: its classes are another dataset's.

    Raises:
        UserError: the file is missing or damaged, a layer has another shape, or no name matches.
    """
    check(path)
    try:
        stored = _arrays_of_archive(path) if str(path).endswith(".keras") else _arrays_of_hdf5(path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    wanted = [layer for layer in network._flatten_layers(include_self=False) if layer.weights]
    matched, misshapen = 0, []
    for layer in wanted:
        arrays = stored.get(layer.name)
        if arrays is None:
            continue
        if [a.shape for a in arrays] == [tuple(w.shape) for w in layer.weights]:
            layer.set_weights(arrays)
            matched += 1
        else:
            misshapen.append(layer.name)
    if misshapen:
        raise UserError(f"{path}: other shapes in {len(misshapen)} layers, first {misshapen[0]}")
    if not matched:
        raise UserError(f"{path}: none of its {len(stored)} layers has a name of {network.name}'s")
    print(f"weights: {matched} of {len(wanted)} layers of {network.name} loaded by name from {path}")


def _arrays_of_hdf5(path):
    """The arrays of an HDF5 file as {layer name: [arrays in order]}."""
    stored = {}
    with h5py.File(path) as file:
        for group in file.get("model_weights", file).values():
            for name in group.attrs.get("weight_names", []):
                name = name.decode() if isinstance(name, bytes) else name
                layer = name.split("/")[-2] if "/" in name else group.name.split("/")[-1]
                stored.setdefault(layer, []).append(group[name][()])
        return stored or _arrays_by_layer(file)


def _arrays_of_archive(path):
    """The same of a `.keras` archive; only its arrays are read, nothing of the model it describes is made."""
    with zipfile.ZipFile(path) as archive, archive.open("model.weights.h5") as member, h5py.File(member) as file:
        return _arrays_by_layer(file)


def _arrays_by_layer(file):
    """The same of an open file in the form of Keras 3."""
    stored = {}

    def keep(_, group):
        if isinstance(group, h5py.Group) and "name" in group.attrs and len(group):
            stored[group.attrs["name"]] = [group[key][()] for key in sorted(group, key=int)]

    file.visititems(keep)
    return stored
