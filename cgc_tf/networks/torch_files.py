"""Files of PyTorch tensors as NumPy arrays, both ways."""

import pathlib
from collections.abc import Mapping

import numpy as np

from cgc_tf.common import files
from cgc_tf.common.errors import UserError, first_line
from cgc_tf.networks import torch_pickle

SUFFIXES = (".safetensors", ".pth", ".pth.tar", ".pt")
# Where training programs put the tensors of a checkpoint, beside its epoch and its optimizer.
WRAPPERS = ("state_dict", "model")


def is_torch_file(path: files.PathLike) -> bool:
    """Whether `path` is named as PyTorch's files are, by one of `SUFFIXES`."""
    return str(path).endswith(SUFFIXES)


def check_writable(path: files.PathLike) -> None:
    """Raises `UserError` unless `path` has one of `SUFFIXES` and the package that writes such a file is installed."""
    _check_suffix(path)
    if not _is_safetensors(path):
        _import_torch(path)


def read_tensors(path: files.PathLike) -> dict[str, np.ndarray]:
    """{name: array} of a `.safetensors` file, or of a pickle of PyTorch's; floating-point arrays as float32.

    A pickle (`.pth`, `.pth.tar`, `.pt`) is a state_dict, or a dict that holds one as `state_dict` or `model`; whatever
    else that dict holds (epoch, optimizer) is passed over. PyTorch is not needed, and no code of the file is run.

    Raises:
        UserError: the file is missing, damaged or cut short, or holds no tensors by name.
    """
    _check_suffix(path)
    try:
        with open(path, "rb") as file:
            tensors = _read_safetensors(path) if _is_safetensors(path) else _read_pickle(path, file)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file of weights") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    floating = {name for name, array in tensors.items() if array.dtype.kind == "f" or array.dtype.name == "bfloat16"}
    return {name: array.astype(np.float32) if name in floating else array for name, array in tensors.items()}


def write_tensors(path: files.PathLike, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes arrays, each contiguous, as `.safetensors`, or as the plain state_dict that `torch.load(path)` gives back.

    The suffix chooses the format. The file appears under its name only when it is whole.

    Raises:
        UserError: the file cannot be written, or is a pickle and PyTorch is not installed.
    """
    check_writable(path)
    path = pathlib.Path(path)
    with files.reported(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.whole(path, "wb") as file:
            if _is_safetensors(path):
                import safetensors.numpy

                file.write(safetensors.numpy.save(dict(tensors)))
            else:
                torch = _import_torch(path)
                torch.save({name: torch.from_numpy(array) for name, array in tensors.items()}, file)


def _read_safetensors(path):
    import ml_dtypes  # noqa: F401  # names bfloat16 for NumPy
    import safetensors.numpy

    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, TypeError, AttributeError) as error:  # the last: a type that NumPy lacks
        raise _damaged(path, error) from error


def _read_pickle(path, file):
    try:
        return _state_dict(torch_pickle.load(file))
    except Exception as error:  # damaged bytes are read as instructions, and fail in any way that these can
        raise _damaged(path, error) from error


def _state_dict(contents):
    for key in WRAPPERS:
        if isinstance(contents, Mapping) and isinstance(contents.get(key), Mapping):
            contents = contents[key]
            break
    if not isinstance(contents, Mapping) or isinstance(contents, torch_pickle.Unread):
        raise ValueError(f"it holds no state_dict but a {getattr(contents, 'name', type(contents).__name__)}")
    others = [k for k, value in contents.items() if not (isinstance(k, str) and isinstance(value, np.ndarray))]
    if others:
        raise ValueError(f"it holds no state_dict: {len(others)} of its entries are no tensors, first {others[0]}")
    return contents


def _damaged(path, error):
    reason = first_line(error).split(". ")[0]
    return UserError(f"{path} is damaged, cut short, or another kind of file: {reason}")


def _import_torch(path):
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"{path} is written by PyTorch: pip install -r requirements-torch.txt, or write a .safetensors file"
        ) from error
    return torch


def _check_suffix(path):
    if not is_torch_file(path):
        raise UserError(f"{path}: not a name of a PyTorch file; use one that ends with {', '.join(SUFFIXES)}")


def _is_safetensors(path):
    return str(path).endswith(".safetensors")
