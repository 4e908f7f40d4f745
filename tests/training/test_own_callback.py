"""A Keras callback by its import path."""

import sys

import keras
import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.training import own_callback

MODULE = """
import keras

class Mine(keras.callbacks.Callback):
    pass

class Asks:
    def __init__(self, x):
        pass

No = list
"""


def test_a_class_of_the_working_folder_is_made(tmp_path, monkeypatch):
    (tmp_path / "mine_of_test.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert type(own_callback.load("mine_of_test:Mine")).__name__ == "Mine"
    assert isinstance(own_callback.load("keras.callbacks:TerminateOnNaN"), keras.callbacks.TerminateOnNaN)
    for path, message in {
        "mine_of_test": "should be module:Class",
        "nowhere_at_all:Mine": "cannot be imported.*No module named",
        "mine_of_test:Other": "cannot be imported.*Other",
        "mine_of_test:Asks": "made without arguments: TypeError",
        "mine_of_test:No": "is no keras.callbacks.Callback. Received: list",
    }.items():
        with pytest.raises(UserError, match=message) as refused:
            own_callback.load(path)
        assert "\n" not in str(refused.value)
