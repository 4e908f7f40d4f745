"""What `torch.save` wrote, read without PyTorch. Nothing that a file names is imported or run.

A pickle names classes and functions that its reader calls. This reader knows three, which make tensors and ordered
dicts; everything else that a checkpoint may hold beside its tensors, such as its settings, becomes an `Unread`.
"""

import collections
import math
import os
import pickle
import zipfile
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

# How PyTorch's file of before 1.6 begins: the pickle of this number, and that of a version.
MAGIC = 0x1950A86A20F9469CFC6C
STORAGES = {
    "DoubleStorage": np.float64,
    "FloatStorage": np.float32,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


class Unread(dict):
    """Stands for an object whose class is not known here; whatever would be put into it is dropped."""

    name = "object"

    def __new__(cls, *_, **__):
        return super().__new__(cls)

    def __init__(self, *_, **__):
        super().__init__()

    def _drop(self, *_):
        """Takes what a pickle puts into a list, a dict or an object."""

    __setstate__ = __setitem__ = append = extend = _drop


def load(file: BinaryIO) -> Any:
    """What a file holds, opened for reading bytes: tensors as NumPy arrays, in dicts, lists and plain values.

    Raises:
        ValueError: it is compressed, cut short, or holds a tensor that is not a plain one in memory.
        Exception: of many other kinds, where it is damaged; bytes of a pickle are read as instructions.
    """
    size = os.fstat(file.fileno()).st_size
    if not zipfile.is_zipfile(file):
        file.seek(0)
        return _load_old(file, size)
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > size:  # PyTorch compresses nothing
            raise ValueError(f"it unpacks to {unpacked} bytes")
        (contents,) = [name for name in archive.namelist() if name.endswith("/data.pkl") or name == "data.pkl"]
        folder = contents.removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("its numbers are big-endian")

        def storage(kind, key, count):
            return _checked(np.frombuffer(archive.read(f"{folder}data/{key}"), kind), count, key)

        with archive.open(contents) as pickled:
            return _Unpickler(pickled, storage).load()


def _load_old(file, size):
    """Reads a file in which the numbers follow the pickle, so that the arrays are filled after they are made."""
    storages = {}

    def storage(kind, key, count):
        if key not in storages:
            if count * np.dtype(kind).itemsize > size:
                raise ValueError("it is cut short")
            storages[key] = np.zeros(count, kind)
        return storages[key]

    if _Unpickler(file, storage).load() != MAGIC:
        raise ValueError("it is no file of torch.save")
    for _ in ("version", "system"):
        _Unpickler(file, storage).load()
    contents = _Unpickler(file, storage).load()
    for key in _Unpickler(file, storage).load():
        count = int.from_bytes(file.read(8), "little")
        _checked(storages[key], count, key)
        if file.readinto(storages[key].view(np.uint8)) != storages[key].nbytes:
            raise ValueError("it is cut short")
    return contents


def _checked(array, count, key):
    if array.size != count:
        raise ValueError(f"its storage {key} has {array.size} numbers instead of {count}")
    return array


class _Unpickler(pickle._Unpickler):  # in Python: a damaged file cannot make it ask for memory without end
    def __init__(self, file, storage):
        super().__init__(file, encoding="utf-8")
        self._storage, self._arrays = storage, {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        return type(name, (Unread,), {"name": f"{module}.{name}"})

    def persistent_load(self, pid: Any) -> Any:
        if pid[0] == "module":  # a class, and its source
            return pid[1]
        kind, key, _, count = pid[1:5]  # after the word "storage"; the third is the device
        if isinstance(kind, type) and issubclass(kind, Unread):
            raise ValueError(f"it has numbers of a kind that is not read ({kind.name})")
        if key not in self._arrays:
            self._arrays[key] = self._storage(kind, key, count)
        return self._arrays[key]


def _tensor(storage, offset, shape, strides, *_):
    """The array of a tensor: a view of the storage, which several may share."""
    last = offset + sum(stride * (length - 1) for length, stride in zip(shape, strides, strict=True))
    reaches = (last >= storage.size and 0 not in shape) or math.prod(shape) > storage.size
    if min((offset, *shape, *strides)) < 0 or reaches:
        raise ValueError(f"a tensor of shape {list(shape)} is larger than what is stored of it")
    steps = [stride * storage.itemsize for stride in strides]
    return np.lib.stride_tricks.as_strided(storage[offset:], shape, steps, writeable=False)


def _parameter(tensor, *_):
    return tensor
