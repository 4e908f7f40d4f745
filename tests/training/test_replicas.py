"""One replica and two, through `fit` under MirroredStrategy: the same losses and the same weights."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

WORKER = pathlib.Path(__file__).parents[1] / "helpers/replica_worker.py"


def fit(replicas, examples=24, batch_norm="frozen", **settings):
    return _fit(str(replicas), str(examples), batch_norm, json.dumps(settings))


@functools.cache
def _fit(*arguments):
    environment = {**os.environ, "PYTHONPATH": str(WORKER.parents[2])}
    done = subprocess.run([sys.executable, WORKER, *arguments], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return {name: np.array(values) for name, values in json.loads(done.stdout.splitlines()[-1]).items()}


@pytest.mark.parametrize(
    ("examples", "settings"),
    [
        pytest.param(24, {"negatives": "global"}, marks=pytest.mark.slow),
        (27, {"negatives": "global"}),  # the last batch holds three: two on one replica, one on the other
        pytest.param(
            24, {"negatives": "global", "ema_momentum": 0.5, "head_learning_rate": 5e-3}, marks=pytest.mark.slow
        ),
    ],
)
def test_two_replicas_train_as_one(examples, settings):
    one, two = (fit(replicas, examples, **settings) for replicas in (1, 2))
    assert abs(one["loss"][1] - one["loss"][0]) > 0.01
    for name, values in one.items():
        np.testing.assert_allclose(two[name], values, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_negatives_of_one_replica_are_fewer():
    """With its own negatives only, a replica tells four heatmaps apart instead of eight."""
    everyone, own = (fit(2, negatives=negatives)["consistency_loss"] for negatives in ("global", "replica"))
    assert np.all(own < everyone - 0.3)


def test_synchronized_batch_norm_is_that_of_the_whole_batch():
    one = fit(1, 8, "trained", negatives="global")
    synchronized = fit(2, 8, "trained", negatives="global", sync_batch_norm=True)
    apart = fit(2, 8, "trained", negatives="global")
    np.testing.assert_allclose(synchronized["loss"], one["loss"], rtol=1e-4)
    assert abs(apart["loss"][0] - one["loss"][0]) > 1e-3


@pytest.mark.slow
def test_clipping_keeps_its_limit_on_two_replicas():
    """One plain step moves the weights by no more than the learning rate times the largest norm allowed."""
    free = {"momentum": 0.0, "weight_decay": 0.0, "learning_rate": 0.1, "negatives": "global"}
    two, unclipped = fit(2, 8, clip_norm=0.01, **free), fit(2, 8, **free)
    moved = np.linalg.norm(two["weights"] - fit(2, 8, **{**free, "learning_rate": 1e-9})["weights"])
    assert 0 < moved < 2 * 0.1 * 0.01 < np.linalg.norm(two["weights"] - unclipped["weights"])
