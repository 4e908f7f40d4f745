"""One replica and two, through `fit` under MirroredStrategy: the same losses and the same weights."""

import json

import numpy as np
import pytest

GLOBAL = {"negatives": "global"}
AVERAGED = {**GLOBAL, "ema_momentum": 0.5, "head_learning_rate": 5e-3}
PLAIN = {**GLOBAL, "momentum": 0.0, "weight_decay": 0.0, "learning_rate": 0.1}


@pytest.fixture(scope="module")
def fits(programs):
    """What `replica_worker` says of cases, `(examples, batch normalization, settings)`, on so many replicas."""

    known = {}

    def fits(replicas, *cases):
        names = [json.dumps([replicas, *case]) for case in cases]
        if new := {name: case for name, case in zip(names, cases, strict=True) if name not in known}:
            done = programs.run("tests/helpers/replica_worker.py", replicas, json.dumps([*new.values()]))
            assert done.returncode == 0, done.stderr[-2000:]
            for name, line in zip(new, map(json.loads, done.stdout.splitlines()), strict=True):
                known[name] = {key: np.array(values) for key, values in line.items()}
        return [known[name] for name in names]

    return fits


def assert_same(one, two):
    """But for rounding, of which a measure of heatmaps makes more: a faint one is divided by its small sum."""
    assert abs(one["loss"][1] - one["loss"][0]) > 0.01
    for name, values in one.items():
        tolerance = 1e-4 if "content_heatmap" in name else 1e-5
        np.testing.assert_allclose(two[name], values, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.slow
def test_two_replicas_train_as_one(fits):
    """The last batch holds three: two on one replica, one on the other. And batch normalization."""
    uneven, whole = fits(1, (27, "frozen", GLOBAL), (8, "trained", GLOBAL))
    of_two, synchronized, apart = fits(
        2, (27, "frozen", GLOBAL), (8, "trained", {**GLOBAL, "sync_batch_norm": True}), (8, "trained", GLOBAL)
    )
    assert_same(uneven, of_two)
    np.testing.assert_allclose(synchronized["loss"], whole["loss"], rtol=1e-4)
    assert abs(apart["loss"][0] - whole["loss"][0]) > 1e-3


@pytest.mark.slow
@pytest.mark.parametrize("settings", [GLOBAL, AVERAGED])
def test_even_batches_and_averages(settings, fits):
    (one,), (two,) = (fits(replicas, (24, "frozen", settings)) for replicas in (1, 2))
    assert_same(one, two)


@pytest.mark.slow
def test_negatives_of_one_replica_are_fewer(fits):
    """With its own negatives only, a replica tells four heatmaps apart instead of eight."""
    everyone, own = fits(2, *((24, "frozen", {"negatives": negatives}) for negatives in ("global", "replica")))
    assert np.all(own["consistency_loss"] < everyone["consistency_loss"] - 0.3)


@pytest.mark.slow
def test_clipping_keeps_its_limit_on_two_replicas(fits):
    """One plain step moves the weights by no more than the learning rate times the largest norm allowed."""
    clipped, free = fits(2, *((8, "frozen", {**PLAIN, **change}) for change in ({"clip_norm": 0.01}, {})))
    moved, freely = (np.linalg.norm(found["weights"] - found["initial_weights"]) for found in (clipped, free))
    assert 0 < moved < 2 * 0.1 * 0.01 < freely
