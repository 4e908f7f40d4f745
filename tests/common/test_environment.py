"""What is said of the device that is computed on."""

import pytest
import tensorflow as tf

from cgc_tf.common import environment


@pytest.mark.parametrize(
    ("libraries", "said"),
    [
        (("libc.so.6", "libcudnn.so.0"), "found, but not libcudnn.so.0: pip install"),
        (("libc.so.6",), "found, but not a GPU: pip install"),
    ],
)
def test_names_the_library_that_a_gpu_lacks(libraries, said, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "DRIVERS", (tmp_path,))
    monkeypatch.setattr(environment, "CUDA_LIBRARIES", libraries)
    monkeypatch.setattr(tf.test, "is_built_with_gpu_support", lambda: True)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert said in environment.device()
    monkeypatch.setattr(environment, "DRIVERS", (tmp_path / "none",))
    assert "no NVIDIA driver is found" in environment.device()
