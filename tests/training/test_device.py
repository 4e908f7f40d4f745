"""What a device lacks is said in a line."""

import pytest
import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.training import device

SAID = "Graph execution error:\n\nDetected at node Fold\n{}\n\t [[{{node Fold}}]] [Op:__inference_step_8]"


def fail(message):
    raise tf.errors.UnimplementedError(None, None, SAID.format(message))


def test_an_operation_without_a_deterministic_kernel_is_named():
    line = "A deterministic GPU implementation of Fold is not currently available"
    with pytest.raises(UserError) as caught, device.kernels_named():
        fail(f"{line}.")
    assert str(caught.value) == f"{line}; --nodeterministic takes what there is"


def test_what_else_is_not_implemented_stays_as_it_is():
    with pytest.raises(tf.errors.UnimplementedError, match="no such size"), device.kernels_named():
        fail("no such size")
