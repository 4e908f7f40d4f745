"""Real processes, stopped in every way: what they leave, and that going on ends with the undisturbed run's bits."""

import contextlib
import dataclasses
import json
import random
import re
import signal
import subprocess
import time

import numpy as np
import pytest

from cgc_tf.training import checkpoints, journal


@pytest.fixture(scope="module")
def start(programs):
    """Starts a run in a folder, with flags; a `subprocess.Popen`."""
    return lambda workdir, *flags: programs.start("train.py", f"--workdir={workdir}", *flags)


@pytest.fixture(scope="module")
def finish(start):
    """Lets a run come to its end; what it printed."""

    def finish(workdir, *flags):
        process = start(workdir, *flags)
        output, errors = process.communicate()
        assert process.returncode == 0, errors[-2000:]
        return output

    return finish


def wait_until(condition):
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_starts(workdir, count=1):
    wait_until(lambda: [event["event"] for event in journal.read(workdir)].count("start") == count)


def wait_for_checkpoint(workdir, beginning):
    wait_until(lambda: any(name.startswith(beginning) for name in names(workdir)))


def names(workdir):
    """The names of checkpoints, which tell every bit of their contents."""
    return [path.name for path in checkpoints.files(workdir / "checkpoints")]


@pytest.fixture(scope="module")
def flags(small_config):
    """A run of six steps, with a checkpoint after each."""
    return dataclasses.replace(small_config, checkpoint_every="1", keep_checkpoints=3).to_flags()


@pytest.fixture(scope="module")
def undisturbed(flags, tmp_path_factory, finish):
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    finish(workdir, *flags)
    return workdir


def assert_same(workdir, undisturbed):
    assert names(workdir) == names(undisturbed)
    assert (workdir / "metrics.csv").read_text() == (undisturbed / "metrics.csv").read_text()


def test_killed_in_an_epoch(flags, undisturbed, tmp_path, start, finish):
    """And started again by its folder's name alone, in the middle of the epoch."""
    workdir = tmp_path / "run"
    process = start(workdir, *flags)
    wait_for_checkpoint(workdir, "epoch0001-step000001")
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert "from epoch 2, step" in finish(workdir)
    assert_same(workdir, undisturbed)
    events = journal.read(workdir)
    assert [event["event"] for event in events] == ["start", "start", "stop"]
    assert events[1]["position"]["epoch"] == 1 and events[1]["position"]["step"] >= 1
    assert events[2]["reason"] == "finished"
    assert events[0]["data"] == {"classes": 3, "train": 24, "test": 12, "skipped": 0}
    assert {"command", "config", "versions", "commit", "hardware", "changes"} <= events[0].keys()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop(number, flags, undisturbed, tmp_path, start, finish):
    """It saves after the step and says so, with a status of its own; a second process is refused meanwhile."""
    workdir = tmp_path / "run"
    process = start(workdir, *[flag for flag in flags if "checkpoint_every" not in flag])
    wait_for_starts(workdir)
    refused = start(workdir, *flags)
    assert re.search(r"is being trained by process \d+ on", refused.communicate()[1])
    assert refused.returncode == 2
    process.send_signal(number)
    errors = process.communicate()[1]
    assert process.returncode == 75
    name = signal.Signals(number).name
    assert f"{name}: saving after this step; once more to leave at once" in errors
    assert f"{name}: saved at epoch 1, step " in errors and "Traceback" not in errors
    assert journal.read(workdir)[-1]["reason"].startswith(f"Stopped: {name}: saved at epoch 1, step ")
    finish(workdir, *flags, "--allow_changes")
    assert names(workdir)[-1] == names(undisturbed)[-1]
    assert journal.read(workdir)[2]["changes"] == {"checkpoint_every": ["10m", "1"]}


@pytest.mark.slow
def test_a_second_signal_leaves_at_once(flags, tmp_path, start, finish):
    workdir = tmp_path / "run"
    process = start(workdir, *flags)
    wait_for_starts(workdir)
    process.send_signal(signal.SIGTERM)
    assert "saving after this step" in next(line for line in process.stderr if line.strip())
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) in (-signal.SIGTERM, 75)  # it may have been done in between
    finish(workdir)


def test_changed_flags_are_shown(undisturbed, flags, start):
    process = start(undisturbed, "--learning_rate=0.5", "--epochs=3")
    assert "epochs 2 there, 3 here; learning_rate 0.01 there, 0.5 here" in process.communicate()[1]
    assert process.returncode == 2
    process = start(undisturbed, "--backbone=resnet18", "--allow_changes")
    assert "error: --backbone cannot change within a run" in process.communicate()[1]


@contextlib.contextmanager
def small_disk(folder, size):
    """A file system of so many bytes; `grow` makes it larger."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs more rights than this user has")
    try:
        yield lambda size: subprocess.run(["mount", "-o", f"remount,size={size}", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_full_disk(flags, undisturbed, tmp_path, start, finish):
    """It holds two checkpoints, not three: the run stops in a line, keeps what is whole, and goes on with more room."""
    size = checkpoints.files(undisturbed / "checkpoints")[0].stat().st_size
    with small_disk(tmp_path / "disk", int(size * 2.5)) as grow:
        workdir = tmp_path / "disk" / "run"
        process = start(workdir, *flags)
        errors = process.communicate()[1]
        assert process.returncode == 2 and errors.count("\n") == 1, errors
        assert f"--workdir={workdir} cannot be written: No space left on device; the last checkpoint, epoch" in errors
        assert [checkpoints.read(path).position.step for path in checkpoints.files(workdir / "checkpoints")] == [1, 2]
        grow(size * 20)
        finish(workdir)
        assert_same(workdir, undisturbed)


@pytest.mark.slow
def test_a_folder_that_vanishes(flags, tmp_path, start):
    workdir = tmp_path / "run"
    process = start(workdir, *flags)
    wait_for_checkpoint(workdir, "epoch0000-step000001")
    workdir.rename(tmp_path / "elsewhere")
    errors = process.communicate()[1]
    assert process.returncode == 2 and errors.count("\n") == 1, errors
    assert f"--workdir={workdir} cannot be written: No such file or directory" in errors
    assert checkpoints.last(tmp_path / "elsewhere" / "checkpoints").position.step


def test_a_folder_that_may_not_be_written(flags, tmp_path, start):
    (tmp_path / "file").touch()
    process = start(tmp_path / "file" / "run", *flags)
    assert f"error: --workdir={tmp_path}/file/run cannot be written: Not a directory" in process.communicate()[1]
    assert process.returncode == 2


@pytest.mark.slow
def test_dry_run_leaves_nothing(flags, tmp_path, start):
    process = start(tmp_path / "run", *flags, "--dry_run")
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert "folder: 24 train, 12 test" in output
    assert output.count("dry run: ") == 6  # it says what it is doing, without a terminal, too
    assert "epoch of 3 steps" in output and "a checkpoint, an evaluation, an export" in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow(seconds=250)
def test_stopped_at_random_moments(small_config, tmp_path, start, finish):
    """Killed and asked to stop in turn, twelve times; checkpoints are being written nearly all the time here."""
    settings = dataclasses.replace(small_config, epochs=24, checkpoint_every="1", keep_checkpoints=2)
    finish(tmp_path / "undisturbed", *settings.to_flags())
    draw, workdir, statuses = random.Random(0), tmp_path / "run", []
    numbers = [signal.SIGKILL, signal.SIGTERM] * 6
    for turn, number in enumerate(numbers):
        process = start(workdir, *settings.to_flags())
        wait_for_starts(workdir, turn + 1)
        if turn % 5:  # the others are stopped before their first step, or in it
            before = names(workdir)
            wait_until(lambda before=before: names(workdir) != before)
        time.sleep(draw.uniform(0, 1.5))
        process.send_signal(number)
        process.communicate()
        statuses.append(process.returncode)
    assert statuses == [-signal.SIGKILL, 75] * 6, json.dumps(statuses)
    finish(workdir)
    assert_same(workdir, tmp_path / "undisturbed")


@pytest.mark.slow
def test_from_one_replica_to_two(small_config, tmp_path, programs):
    """Going on with two replicas is going on with one, to rounding."""
    settings = dataclasses.replace(
        small_config, negatives="global", sync_batch_norm=True, learning_rate=2e-3, checkpoint_every="1", epochs=2
    )

    def train(replicas, workdir, stops_at=None):
        flags = f"--workdir={workdir}", *settings.to_flags()
        process = programs.start("tests/helpers/small_training.py", replicas, *flags)
        if stops_at:
            wait_for_checkpoint(workdir, stops_at)
            process.kill()
        errors = process.communicate()[1]
        assert stops_at or process.returncode == 0, errors[-2000:]

    train(1, tmp_path / "one")
    train(1, tmp_path / "changed", stops_at="epoch0000-step000002")
    train(2, tmp_path / "changed")
    one, changed = (checkpoints.find(tmp_path / name).state for name in ("one", "changed"))
    assert one.keys() == changed.keys()
    for name, array in one.items():
        np.testing.assert_allclose(changed[name], array, rtol=1e-5, atol=1e-5, err_msg=name)
