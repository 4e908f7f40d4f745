"""Precisions, heads, heatmaps, unlabeled pictures, XLA: each through a whole run."""

import csv
import dataclasses
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

from cgc_tf.training import run_folder, train


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "mixed_bfloat16"},
        {"precision": "mixed_float16"},
        {"accumulate_steps": 2, "optimizer": "adamw", "learning_rate": 1e-3},
        {"cam": "gradcam++", "pooling": "max", "hidden_units": (16,), "explain_layer": "stack1_block0_out"},
        {"negatives": "global", "explain_class": "label", "ce_views": ("ce",), "label_smoothing": 0.1},
        {"labeled_fraction": 0.5, "unlabeled_dataset": "folder", "batch_size": 4, "ce_views": ("ce",)},
    ],
    ids=lambda settings: ",".join(settings),
)
def test_trains_with(settings, small_config, tmp_path):
    """Every way of training goes through a whole run, and what it leaves can be read and explained in float32."""
    settings = dataclasses.replace(small_config, **settings)
    before = keras.config.dtype_policy()
    own = keras.callbacks.CSVLogger(tmp_path / "own.csv")
    train.train(settings, tmp_path / "run", own_callbacks=[own])
    assert keras.config.dtype_policy() == before
    assert "val_accuracy" in next(iter(csv.DictReader((tmp_path / "own.csv").open())))
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert len(rows) == 2 and all(np.isfinite(float(value)) for row in rows for value in row.values())
    model = run_folder.trained_model(settings, tmp_path / "run")
    answer = model.explain(np.zeros((1, 48, 48, 3), np.uint8) + 100)
    assert answer["heatmap"].dtype == tf.float32 and np.isfinite(answer["heatmap"]).all()
    assert {weight.dtype for weight in model.trainable_variables} == {"float32"}


@pytest.mark.slow
def test_whole_step_compiles_with_xla(small_config, tmp_path):
    """In a process of its own: once operations are asked to be deterministic, Keras leaves XLA out."""
    settings = dataclasses.replace(small_config, xla=True, ema_momentum=0.9, clip_norm=1.0, precision="mixed_bfloat16")
    arguments = [*settings.to_flags(), f"--workdir={tmp_path / 'run'}"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0", "TF_CPP_VMODULE": "xla_compilation_cache=1"}
    done = subprocess.run([sys.executable, "train.py", *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Compiled cluster using XLA" in done.stderr and "doesn't support" not in done.stderr
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert len(rows) == 2 and all(np.isfinite(float(value)) for row in rows for value in row.values())
