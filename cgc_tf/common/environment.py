"""Where something was computed: versions, commit and hardware, for whoever reads its figures later."""

import contextlib
import ctypes
import importlib.metadata
import os
import pathlib
import platform
import subprocess

import tensorflow as tf

DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # Linux; Windows' Linux
# What TensorFlow 2.21 loads for a GPU, of CUDA 12 and cuDNN 9.
CUDA_LIBRARIES = (
    *("libcudart.so.12", "libcublas.so.12", "libcublasLt.so.12", "libcufft.so.11", "libcusolver.so.11"),
    *("libcusparse.so.12", "libcudnn.so.9"),
)
PACKAGES = ("tensorflow", "keras", "keras-hub", "tf-explain", "tensorflow-datasets", "numpy")


def versions() -> dict[str, str | None]:
    """{name: version} of Python and of the packages that numbers depend on; None for one that is not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def hardware() -> dict:
    """The machine, its processor and cores, and TensorFlow's devices, a dict."""
    return {
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "devices": [_device(device) for device in tf.config.list_physical_devices()],
    }


def device() -> str:
    """What TensorFlow computes on, in words; where that is the CPU, why it is no GPU."""
    if gpus := tf.config.get_visible_devices("GPU"):
        return ", ".join(_device(gpu) for gpu in gpus)
    return f"the CPU ({_why_no_gpu()})"


def _why_no_gpu():
    if not tf.test.is_built_with_gpu_support():
        return "this TensorFlow is built without support for GPUs"
    if tf.config.list_physical_devices("GPU") or os.environ.get("CUDA_VISIBLE_DEVICES", "all") in ("", "-1"):
        return "GPUs are hidden from this process, as by CUDA_VISIBLE_DEVICES"
    if not any(pathlib.Path(path).exists() for path in DRIVERS):
        return "no NVIDIA driver is found"
    missing = [library for library in CUDA_LIBRARIES if not _loads(library)]
    return f"an NVIDIA driver is found, but not {', '.join(missing) or 'a GPU'}: pip install 'tensorflow[and-cuda]'"


def _loads(library):
    """Whether the linker finds a library, in its own places or where pip puts NVIDIA's packages."""
    packages = pathlib.Path(tf.__file__).parents[1] / "nvidia"
    for path in (library, *packages.glob(f"*/lib/{library}")):
        with contextlib.suppress(OSError):
            ctypes.CDLL(str(path))
            return True
    return False


def commit() -> str | None:
    """The project's commit, with a + where files differ from it; None without git."""
    command = ["git", "-C", pathlib.Path(__file__).parent, "describe", "--always", "--abbrev=40", "--dirty=+"]
    try:
        done = subprocess.run([*command, "--exclude=*"], capture_output=True, text=True, check=True, timeout=10)
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _device(device):
    return tf.config.experimental.get_device_details(device).get("device_name", device.device_type)


def _processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()
