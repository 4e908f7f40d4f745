"""Files of PyTorch tensors as NumPy arrays, both ways. Reading one never runs code that it may hold."""

import argparse
import os
import pathlib
import re
import warnings
import zipfile
from collections.abc import Mapping

import numpy as np

from cgc_tf.common import files
from cgc_tf.common.errors import UserError, first_line

SUFFIXES = (".safetensors", ".pth", ".pth.tar", ".pt")
# Where training programs put the tensors of a checkpoint, beside its epoch and its optimizer.
WRAPPERS = ("state_dict", "model")


def is_torch_file(path: files.PathLike) -> bool:
    """Whether `path` is named as PyTorch's files are, by one of `SUFFIXES`."""
    return str(path).endswith(SUFFIXES)


def check(path: files.PathLike) -> None:
    """Raises `UserError` unless `path` has one of `SUFFIXES` and the package that such a file needs is installed."""
    if not is_torch_file(path):
        raise UserError(f"{path}: not a name of a PyTorch file; use one that ends with {', '.join(SUFFIXES)}")
    if not _is_safetensors(path):
        _import_torch(path)


def read_tensors(path: files.PathLike) -> dict[str, np.ndarray]:
    """{name: array} of a `.safetensors` file, or of a pickle of PyTorch's; floating-point arrays as float32.

    A pickle (`.pth`, `.pth.tar`, `.pt`) is a state_dict, or a dict that holds one as `state_dict` or `model`; whatever
    else that dict holds (epoch, optimizer) is passed over.

    Raises:
        UserError: the file is missing, damaged or cut short, holds anything but tensors, would run code when
            unpickled, or is a pickle and PyTorch is not installed.
    """
    check(path)
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
    check(path)
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
    torch = _import_torch(path)
    try:
        _check_unpacked_size(file)
        with warnings.catch_warnings(action="ignore"), _metadata_allowed(torch):
            contents = torch.load(file, map_location="cpu", weights_only=True)
        return {name: _to_numpy(torch, name, tensor) for name, tensor in _state_dict(torch, contents).items()}
    except Exception as error:  # damaged bytes are read as instructions, and fail in any way that these can
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused:
            raise UserError(
                f"{path} is not read, since that would run code that it names ({refused[1]}): save only its "
                "state_dict(), or use .safetensors"
            ) from error
        raise _damaged(path, error) from error


def _check_unpacked_size(file):
    """PyTorch compresses nothing, so an archive that unpacks to more than the file itself is none of its own."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > os.fstat(file.fileno()).st_size:
            raise ValueError(f"it unpacks to {unpacked} bytes")
    file.seek(0)


def _state_dict(torch, contents):
    for key in WRAPPERS:
        if isinstance(contents, Mapping) and isinstance(contents.get(key), Mapping):
            contents = contents[key]
            break
    if not isinstance(contents, Mapping):
        raise ValueError(f"it holds no state_dict but a {type(contents).__name__}")
    others = [k for k, value in contents.items() if not (isinstance(k, str) and isinstance(value, torch.Tensor))]
    if others:
        raise ValueError(f"it holds no state_dict: {len(others)} of its entries are no tensors, first {others[0]}")
    return contents


def _metadata_allowed(torch):
    """Lets a checkpoint hold the plain values that training programs leave in it, by the names NumPy 1 and 2 give."""
    scalar = np.float64(0).__reduce__()[0]
    allowed = [argparse.Namespace, np.dtype, *(type(np.dtype(kind)) for kind in ("float32", "float64", "int64"))]
    allowed += [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return torch.serialization.safe_globals(allowed)


def _to_numpy(torch, name, tensor):
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} {list(tensor.shape)} is larger than what is stored of it")
    return tensor.detach().to(torch.float32 if tensor.is_floating_point() else tensor.dtype).numpy()


def _damaged(path, error):
    reason = first_line(error).split(". ")[0]
    return UserError(f"{path} is damaged, cut short, or another kind of file: {reason}")


def _import_torch(path):
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"{path} needs PyTorch: pip install -r requirements-torch.txt, or use a .safetensors file"
        ) from error
    return torch


def _is_safetensors(path):
    return str(path).endswith(".safetensors")
