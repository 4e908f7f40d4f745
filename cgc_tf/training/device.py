"""What a process computes on, and how: seeds and determinism, precision, replicas, memory."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator

import keras
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.training import workers
from cgc_tf.training.config import Config

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # malloc.h


def seed(config: Config) -> None:
    """Seeds everything random of a run, and makes its steps deterministic if it asks for that."""
    if config.deterministic:
        make_deterministic(config.seed, config.xla)
    else:
        keras.utils.set_random_seed(config.seed)


def make_deterministic(seed: int, xla: bool = False) -> None:
    """Seeds everything random, and makes a step on one device give the same bits every time."""
    keras.utils.set_random_seed(seed)
    if not xla:  # which Keras does not use where operations are asked to be deterministic
        tf.config.experimental.enable_op_determinism()
    # AddN adds its inputs in whatever order their buffers fall free, which with several threads is a matter of chance.
    # Several GPUs want those threads; there the same seed agrees to rounding.
    if len(tf.config.list_physical_devices("GPU")) <= 1 and tf.config.threading.get_inter_op_parallelism_threads() != 1:
        try:
            tf.config.threading.set_inter_op_parallelism_threads(1)
        except RuntimeError:
            print("note: TensorFlow was in use before; the same seed will agree to rounding only")


@contextlib.contextmanager
def kernels_named() -> Iterator[None]:
    """Says in a line which operation has no kernel that gives the same bits each time; a GPU lacks some.

    Raises:
        UserError: naming the operation, in place of TensorFlow's error.
    """
    try:
        yield
    except tf.errors.UnimplementedError as error:
        said = [line for line in error.message.splitlines() if "determinis" in line.lower()]
        if not said:
            raise
        raise UserError(f"{said[0].strip(' .')}; --nodeterministic takes what there is") from error


def make_strategy(config: Config) -> tf.distribute.Strategy:
    """The `tf.distribute.Strategy` of a configuration; of several workers, when all are there.

    Raises:
        UserError: its replicas cannot share a batch, or the workers are not as they should be.
    """
    named = workers.named(config.strategy)
    if config.strategy == "single":
        return tf.distribute.get_strategy()
    strategy = workers.join(*named) if named else tf.distribute.MirroredStrategy()
    replicas = strategy.num_replicas_in_sync
    if config.batch_size % replicas:
        raise UserError(f"--batch_size={config.batch_size} should divide by {replicas} replicas")
    if config.xla and replicas > 1:  # Keras' `fit` makes one program of all replicas
        raise UserError(f"--xla works on one device, not on {replicas}: add --strategy=single")
    if config.accumulate_steps > 1:  # Keras updates within a `cond`, where a mirrored variable cannot be updated
        if replicas > 1:
            raise UserError(f"--accumulate_steps works on one device, not on {replicas}: add --strategy=single")
        return tf.distribute.get_strategy()
    return strategy


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Within it, layers are made to compute in a Keras dtype policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def keep_freed_memory() -> None:
    """Lets glibc keep the memory of freed tensors instead of handing it back to the kernel.

    By default every large tensor of every step is mapped, zeroed page by page, and unmapped again. Elsewhere than on
    glibc this does nothing. docs/architecture.md says what it gained.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        mallopt(M_TOP_PAD, 256 * 2**20)
