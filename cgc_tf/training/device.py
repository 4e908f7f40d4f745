"""One knob of the C library, for training on a CPU."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def keep_freed_memory():
    """Lets glibc keep the memory of freed tensors instead of handing it back to the kernel.

    By default every large tensor of every step is mapped, zeroed page by page, and unmapped again. Elsewhere than on
    glibc this does nothing. docs/architecture.md says what it gained.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 256 * 2**20)
