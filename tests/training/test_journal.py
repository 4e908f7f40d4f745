"""The record of a run, and the lock on its folder."""

import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.report import tables
from cgc_tf.training import journal


def test_events_are_kept_in_their_order_and_a_cut_line_costs_itself_alone(tmp_path):
    assert journal.read(tmp_path) == []
    journal.append(tmp_path, "start", position=1)
    path = tmp_path / journal.FILE
    path.write_text(path.read_text() + '{"event": "st')
    journal.append(tmp_path, "start", position=2)
    journal.append(tmp_path, "stop", reason="finished")
    events = journal.read(tmp_path)
    assert [event["event"] for event in events] == ["start", "start", "stop"]
    assert [event.get("position") for event in events] == [1, 2, None]
    assert all("time" in event for event in events)


def test_a_folder_belongs_to_one(tmp_path):
    workdir = tmp_path / "runs" / "a"
    with journal.locked(workdir):
        with pytest.raises(UserError, match=r"runs/a is being trained by process \d+ on "), journal.locked(workdir):
            pass
        (workdir / "config.json").touch()
    with journal.locked(workdir):
        pass
    assert (workdir / "config.json").exists()


def test_nothing_is_left_of_a_run_that_never_began(tmp_path):
    with pytest.raises(UserError, match="no"), journal.locked(tmp_path / "runs" / "a"):
        raise UserError("no")
    assert list(tmp_path.iterdir()) == []


def start(workdir, epoch, step, **settings):
    journal.append(workdir, "start", position={"epoch": epoch, "step": step, "steps_per_epoch": 5}, config=settings)


def test_history_is_of_what_is_in_the_weights(tmp_path):
    """What was trained beyond the checkpoint that a start went on from is gone; what has no effect is left out."""
    assert journal.history(tmp_path) == [] and tables.changes([]) == ""
    start(tmp_path, 0, 0, learning_rate=0.1, cache="none")
    start(tmp_path, 1, 2, learning_rate=0.1, cache="memory")
    assert journal.history(tmp_path) == []
    start(tmp_path, 4, 0, learning_rate=0.5, cache="memory")
    start(tmp_path, 3, 2, learning_rate=0.2, cache="memory")
    start(tmp_path, 6, 0, learning_rate=0.3, cache="memory", ce_views=["ce"])
    history = journal.history(tmp_path)
    assert [(each["position"]["epoch"], each["position"]["step"]) for each in history] == [(0, 0), (3, 2), (6, 0)]
    assert tables.changes(history[:2]) == "learning_rate 0.1 to epoch 4, step 2, then 0.2"
    assert tables.changes(history).startswith(
        "learning_rate 0.1 to epoch 4, step 2, then 0.2 to the end of epoch 6, then 0.3"
    )
    start(tmp_path, 0, 0, learning_rate=0.3)
    assert journal.history(tmp_path) == []
