"""Where something was computed: versions, commit and hardware, for whoever reads its figures later."""

import importlib.metadata
import os
import pathlib
import platform
import subprocess

import tensorflow as tf

DRIVERS = ("/dev/nvidiactl", "/dev/dxg")  # Linux; Windows' Linux
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
    return "an NVIDIA driver is found, but not CUDA's libraries: pip install 'tensorflow[and-cuda]'"


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
