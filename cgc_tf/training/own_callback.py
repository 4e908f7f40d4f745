"""A Keras callback of a user's own, by its import path: Weights & Biases, MLflow, or one from a file."""

import importlib
import os
import sys

import keras

from cgc_tf.common.errors import UserError, first_line


def load(path: str) -> keras.callbacks.Callback:
    """The callback that `module:Class` makes, without arguments; modules in the working folder are found, too.

    Raises:
        UserError: it cannot be imported or made, or is no `keras.callbacks.Callback`.
    """
    module, _, name = path.partition(":")
    if not module or not name:
        raise UserError(f"--callback={path} should be module:Class, as in my_callbacks:Notify")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        made = getattr(importlib.import_module(module), name)()
    except Exception as error:  # whatever a module of the user's raises
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise UserError(f"--callback={path} cannot be imported, or made without arguments: {reason}") from error
    if not isinstance(made, keras.callbacks.Callback):
        raise UserError(f"--callback={path} is no keras.callbacks.Callback. Received: {type(made).__name__}")
    return made
