"""What a step is made of, and what it leaves in batch normalization, on two replicas."""

import json

import numpy as np
import pytest
import step_worker

pytestmark = pytest.mark.slow
MOMENTUM = 0.99  # Keras' default
ORDER = ("original", "augmented", "ce")  # in which the views go through the network


@pytest.fixture(scope="module")
def steps(programs):
    """What `step_worker` says of a model, of one twice as deep, and of one without batch normalization."""
    done = programs.run("tests/helpers/step_worker.py")
    assert done.returncode == 0, done.stderr[-2000:]
    return list(map(json.loads, done.stdout.splitlines()))


def test_replicas_wait_as_often_whatever_the_depth(steps):
    """Once for the statistics of all layers and views together."""
    shallow, deep, without = steps
    assert (shallow["waits"], deep["waits"], without["waits"]) == (8, 8, 7)


def test_a_step_has_no_more_operations_than_it_had(steps):
    """Of both replicas. Whoever adds some on purpose raises the number here, and knows what a layer costs."""
    shallow, deep, _ = steps
    assert shallow["operations"] <= 4700 and deep["operations"] - shallow["operations"] <= 2 * 720


def test_statistics_are_means_over_replicas(steps):
    """Of both halves of the batch, view after view, and the same on both replicas; one replica's alone differ."""
    batch = step_worker.batch()
    halves = [{view: batch[view][part].astype(np.float64) for view in step_worker.VIEWS} for part in np.s_[:2, 2:]]
    expected = {"moving_mean": np.mean, "moving_variance": np.var}
    for name, statistic in expected.items():
        each = np.stack([[statistic(half[view], (0, 1, 2)) for view in ORDER] for half in halves])
        moving = np.full([2, 3], float(statistic is np.var))
        for view in each.swapaxes(0, 1):
            moving = MOMENTUM * moving + (1 - MOMENTUM) * view
        for found in steps[0][name]:
            np.testing.assert_allclose(found, moving.mean(0), rtol=1e-5)
        assert np.abs(moving[0] - moving[1]).max() > 1e-3 * np.abs(moving).max()
