"""Contrastive Grad-CAM Consistency (CGC) for Keras 3 and TensorFlow.

    from cgc_tf import CGCModel, Config, Objective, evaluate, export_saved_model, train, view_batches

Each name is loaded when it is first used, so that importing this package costs nothing.
"""

import importlib
import importlib.util
import os
from typing import TYPE_CHECKING

os.environ["KERAS_BACKEND"] = "tensorflow"

if TYPE_CHECKING:
    from cgc_tf.data.view_batches import view_batches
    from cgc_tf.evaluation.evaluate import evaluate
    from cgc_tf.method.model import CGCModel
    from cgc_tf.method.objective import Objective
    from cgc_tf.training.config import Config
    from cgc_tf.training.train import train
    from export.saved_model import export_saved_model

__all__ = ["CGCModel", "Config", "Objective", "evaluate", "export_saved_model", "train", "view_batches"]

_MODULES = {
    "CGCModel": "method.model",
    "Config": "training.config",
    "Objective": "method.objective",
    "evaluate": "evaluation.evaluate",
    "export_saved_model": "export.saved_model",
    "train": "training.train",
    "view_batches": "data.view_batches",
}


def __getattr__(name: str):
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = f"{__name__}.{_MODULES[name]}"
    if not importlib.util.find_spec(module.rpartition(".")[0]):  # of `export`, which in a checkout stands beside
        module = _MODULES[name]
    return getattr(importlib.import_module(module), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
