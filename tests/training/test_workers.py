"""Workers that train together, as real processes over loopback: the weights of one process, and who is lost."""

import contextlib
import dataclasses
import re
import signal
import socket
import time

import numpy as np
import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.data import batches, load
from cgc_tf.training import checkpoints, journal, workers

SECONDS = 30  # within which the others notice that one is gone; TensorFlow's own heartbeats take 10


def free_addresses(count):
    """Addresses on loopback at which nobody listens."""
    with contextlib.ExitStack() as stack:
        taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in taken]


@pytest.fixture(scope="module")
def start(programs):
    """Starts a worker for each `(workdir, flags)`; a list of `subprocess.Popen`."""

    def start(*runs):
        addresses = free_addresses(len(runs))
        named = [[f"--workers={','.join(addresses)}", f"--worker_index={index}"] for index in range(len(runs))]
        return [
            programs.start("tests/helpers/small_training.py", 0, *names, f"--workdir={workdir}", *flags)
            for names, (workdir, flags) in zip(named, runs, strict=True)
        ]

    return start


def ended(processes):
    """The exit status and the errors of each."""
    errors = [process.communicate()[1] for process in processes]
    return [(process.returncode, text) for process, text in zip(processes, errors, strict=True)]


def finish(processes):
    for status, errors in ended(processes):
        assert status == 0, errors[-2000:]


@pytest.fixture(scope="module")
def config(small_config):
    """Three steps in which each worker has a part of the statistics and of the negatives."""
    together = {"negatives": "global", "sync_batch_norm": True, "learning_rate": 1e-4, "checkpoint_every": "1"}
    together["ce_views"] = ("original",)
    return dataclasses.replace(small_config, epochs=1, validation_examples=11, keep_checkpoints=9, **together)


@pytest.fixture(scope="module")
def unbroken(start, config, tmp_path_factory):
    workdir = tmp_path_factory.mktemp("workers") / "run"
    finish(start(*[(workdir, config.to_flags())] * 2))
    return workdir


def assert_close(workdir, other, tolerance=1e-5):
    """The states are the same but for rounding, which batch normalization makes more of in every step."""
    found, wanted = checkpoints.find(workdir), checkpoints.find(other)
    assert found.position == wanted.position and found.state.keys() == wanted.state.keys()
    for name, array in wanted.state.items():
        np.testing.assert_allclose(found.state[name], array, rtol=tolerance, atol=tolerance, err_msg=name)


@pytest.mark.slow
def test_two_workers_train_as_two_replicas_of_one(unbroken, config, tmp_path, programs):
    one = f"--workdir={tmp_path / 'one'}"
    done = programs.run("tests/helpers/small_training.py", 2, one, *config.to_flags())
    assert done.returncode == 0, done.stderr[-2000:]
    assert_close(unbroken, tmp_path / "one")
    begun, stopped = journal.read(unbroken)  # by the chief alone
    assert (begun["workers"], begun["replicas"], stopped["reason"]) == (2, 2, "finished")
    assert len(list((unbroken / "tensorboard").rglob("events*"))) == len(
        list((tmp_path / "one" / "tensorboard").rglob("events*"))
    )


def wait_for_checkpoint(workdir, beginning):
    deadline = time.monotonic() + 300
    while not any(path.name.startswith(beginning) for path in checkpoints.files(workdir / "checkpoints")):
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize("lost", [0, 1])
def test_one_is_killed(lost, unbroken, config, tmp_path, start):
    """The other stops and says who is gone; started again, both end with the bits of an unbroken run."""
    workdir = tmp_path / "run"
    processes = start(*[(workdir, config.to_flags())] * 2)
    wait_for_checkpoint(workdir, "epoch0000-step000001")
    processes[lost].kill()
    began = time.monotonic()
    status, errors = ended(processes)[1 - lost]
    assert time.monotonic() - began < SECONDS
    assert status == 75 and errors.count("\n") == 1, errors
    assert re.match(rf"worker {lost}, 127.0.0.1:\d+, is gone: worker {1 - lost} stops", errors), errors
    finish(start(*[(workdir, [])] * 2))
    assert checkpoints.find(workdir).name == checkpoints.find(unbroken).name


@pytest.mark.slow
def test_one_is_asked_to_stop(unbroken, config, tmp_path, start):
    """All of them save after the same step, and leave."""
    workdir = tmp_path / "run"
    settings = dataclasses.replace(config, epochs=40, keep_checkpoints=1)
    processes = start(*[(workdir, settings.to_flags())] * 2)
    wait_for_checkpoint(workdir, "epoch0000-step000001")
    processes[1].send_signal(signal.SIGTERM)
    (chief, by_chief), (other, by_other) = ended(processes)
    assert chief == other == 75
    (place,) = re.findall(r"another worker was asked to stop: saved at (.*); start again", by_chief)
    assert f"SIGTERM: saved at {place}; start again to go on" in by_other
    assert str(checkpoints.find(workdir).position) == place


@pytest.mark.slow
def test_from_four_workers_to_two(unbroken, config, tmp_path, start):
    """The batch stays what it was."""
    workdir = tmp_path / "run"
    processes = start(*[(workdir, config.to_flags())] * 4)
    wait_for_checkpoint(workdir, "epoch0000-step000002")
    processes[2].kill()
    left = ended(processes)
    assert [status for status, _ in left] == [75, 75, -signal.SIGKILL, 75]
    for index in (0, 1, 3):
        named = r"worker 2, 127.0.0.1:\d+, is gone"
        if index == 1:  # which is not beside it
            named = rf"({named}|worker 0, 127.0.0.1:\d+, is gone, or has stopped for another's loss)"
        assert re.match(f"{named}: worker {index} stops", left[index][1]), left[index][1]
    finish(start(*[(workdir, [])] * 2))
    assert_close(workdir, unbroken)


@pytest.mark.slow
def test_what_workers_do_not_share(config, tmp_path, start):
    flags = config.to_flags()
    for other, complaint in (
        ((tmp_path / "b", flags), "does not see the chief's --workdir: all need a folder that they share"),
        ((tmp_path / "a", [*flags, "--seed=1"]), "was started with other settings than the chief"),
    ):
        for status, errors in ended(start((tmp_path / "a", flags), other)):
            assert status == 2 and re.match(rf"error: worker 1, [\d.:]+, {complaint}", errors), errors


@pytest.fixture(scope="module")
def source(pictures):
    return load.load_dataset("folder", str(pictures))


def test_shares_make_up_the_whole(source):
    """Two workers of two replicas each: small batches in the order of the replicas, from a step on."""
    parts = [batches.Share(0, 2, 4), batches.Share(2, 2, 4)]
    (whole,) = batches.training_batches(source, 32, 8, 0, 4, 3)
    pieces = [piece for part in parts for piece in batches.training_batches(source, 32, 8, 0, 4, 3, share=part)]
    assert [len(piece["label"]) for piece in pieces] == [2] * 4
    for name, values in whole.items():
        np.testing.assert_array_equal(np.concatenate([piece[name] for piece in pieces]), values)


def test_shares_of_a_validation(source):
    """Eleven pictures by batches of eight: each worker has as many batches, and the small ones nothing twice."""
    whole = np.concatenate([batch["image"] for batch in batches.validation_batches(source, "test", 32, 8, 11)])
    parts = [batches.Share(index, 1, 4) for index in range(4)]
    found = [
        [batch["image"].numpy() for batch in batches.validation_batches(source, "test", 32, 8, 11, p)] for p in parts
    ]
    assert {len(part) for part in found} == {2}
    assert sorted(len(images) for part in found for images in part) == [0, 1, 1, 1, 2, 2, 2, 2]
    by_worker = [np.concatenate(part) for part in found]
    for place, image in enumerate(whole):
        np.testing.assert_array_equal(by_worker[place % 4][place // 4], image)


def test_slurms_tasks_are_found_by_their_host(monkeypatch):
    """The third task is the first one on n10, which stands before n9 where hosts are sorted as texts."""
    monkeypatch.delenv("TF_CONFIG", raising=False)
    slurm = {"STEP_NUM_TASKS": 4, "STEP_NODELIST": "n[9-10]", "STEP_TASKS_PER_NODE": "2(x2)", "JOB_ID": 31234}
    for name, value in {**slurm, "PROCID": 2, "LOCALID": 0}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setenv("SLURMD_NODENAME", "n10")
    assert workers.named("multiworker") == (["n10:21234", "n10:21235", "n9:21234", "n9:21235"], 0)
    assert workers.named("auto") is None  # who starts many programs with srun need not mean one training


@pytest.mark.parametrize(
    ("text", "strategy", "complaint"),
    [
        ("", "multiworker", "--strategy=multiworker: nobody says who the workers are"),
        ("{", "auto", "TF_CONFIG should be such as"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}', "auto", "TF_CONFIG should be"),
        ('{"cluster": {"worker": ["a:1"], "ps": ["b:1"]}, "task": {"type": "ps", "index": 0}}', "auto", "TF_CONFIG"),
        (
            '{"cluster": {"chief": ["a:1"], "worker": ["b:1"]}, "task": {"type": "worker", "index": 0}}',
            "mirrored",
            "--strategy=mirrored trains alone, but 2 workers are named",
        ),
    ],
)
def test_workers_that_are_not_named_so(text, strategy, complaint, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    monkeypatch.delenv("SLURM_STEP_NUM_TASKS", raising=False)
    with pytest.raises(UserError, match=f"^{complaint}"):
        workers.named(strategy)
