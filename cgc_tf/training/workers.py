"""Several processes, on one machine or more, that train one model: who they are, what they agree on, and who is gone.

The first of them is the chief, which alone writes. Whatever a function here asks of all is asked of each at the same
place, since each waits for the others; a worker that asks more often than another would stop both.
"""

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Iterator

import tensorflow as tf

from cgc_tf.common.errors import Stopped, UserError
from cgc_tf.data.batches import Share

PORTS = 20000, 10000  # of Slurm's tasks: the first one, and among how many a job's number chooses
SECONDS_TO_SEE = 30  # for which a network's file system may not show a file that another machine has written
SECONDS_BETWEEN = 1.0  # two agreements, about
LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError, tf.errors.DeadlineExceededError)


def named(strategy: str) -> tuple[list[str], int] | None:
    """The addresses of several workers and the index of this one, as TF_CONFIG or Slurm says; None where it is alone.

    Raises:
        UserError: `strategy`, a value of --strategy, asks for workers that nobody names, or TF_CONFIG says something
            else than workers or against it.
    """
    text = os.environ.get("TF_CONFIG", "")
    if not text and strategy != "multiworker":
        return None
    addresses, index = _of_tf_config(text) if text else _of_slurm()
    if len(addresses) == 1:
        return None
    if strategy in ("single", "mirrored"):
        raise UserError(f"--strategy={strategy} trains alone, but {len(addresses)} workers are named: use auto")
    return addresses, index


def _of_tf_config(text):
    try:
        config = json.loads(text)
        cluster, task = config["cluster"], config["task"]
        addresses = [*cluster.get("chief", ()), *cluster.get("worker", ())]
        index = int(task["index"]) + len(cluster.get("chief", ())) * (task["type"] == "worker")
        if set(cluster) <= {"chief", "worker"} and task["type"] in cluster and 0 <= index < len(addresses):
            return addresses, index
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    wanted = '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
    raise UserError(f"TF_CONFIG should be such as {wanted}. Received: {text}")


def _of_slurm():
    if "SLURM_STEP_NUM_TASKS" not in os.environ:
        raise UserError(
            "--strategy=multiworker: nobody says who the workers are. Pass --workers and --worker_index, or set "
            "TF_CONFIG, or start the program with srun"
        )
    # The resolver divides GPUs among tasks, and fails where there are none; Slurm itself has done it.
    tasks, port = int(os.environ["SLURM_STEP_NUM_TASKS"]), PORTS[0] + int(os.environ["SLURM_JOB_ID"]) % PORTS[1]
    resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(None, port, tasks, 1, None, auto_set_gpu=False)
    addresses = resolver.cluster_spec().as_dict()["worker"]
    # It sorts hosts as texts (n10 before n2), Slurm's ranks do not; so a task is found by its host.
    host, task = os.environ["SLURMD_NODENAME"], int(os.environ["SLURM_LOCALID"])
    return addresses, [address.rpartition(":")[0] for address in addresses].index(host) + task


def join(addresses: list[str], index: int) -> tf.distribute.Strategy:
    """TensorFlow's strategy of several workers; returns when all of them are there.

    Raises:
        UserError: this one's address is in use.
    """
    print(f"worker {index} of {len(addresses)}, {addresses[index]}: waiting for {', '.join(addresses)}", flush=True)
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": addresses}),
        task_type="worker",
        task_id=index,
        num_accelerators={"GPU": len(tf.config.list_physical_devices("GPU"))},
        rpc_layer="grpc",
    )
    try:
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except tf.errors.UnknownError as error:
        raise UserError(f"worker {index} cannot listen at {addresses[index]}; is its port in use?") from error


class Workers:
    """The workers of a strategy: those that `join` has brought together, or else this process alone.

    Attributes:
        addresses: `host:port` of each; of a process alone one that is empty.
        index: which of them this one is.
        is_chief: whether it is the one that writes.
    """

    def __init__(self, strategy: tf.distribute.Strategy):
        self._strategy, self.addresses, self.index = strategy, [""], 0
        if isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
            resolver = strategy.cluster_resolver
            self.addresses, self.index = resolver.cluster_spec().as_dict()["worker"], resolver.task_id
        self.are_several, self.is_chief = len(self.addresses) > 1, self.index == 0

    @property
    def share(self) -> Share:
        """The part of every batch that this worker reads."""
        each = self._strategy.num_replicas_in_sync // len(self.addresses)
        return Share(self.index * each, each, each * len(self.addresses)) if self.are_several else Share()

    def distributed(self, batches: tf.data.Dataset, is_endless: bool = False):
        """What Keras takes of this worker's batches, as `share` makes them; of one alone the batches themselves.

        Of a stream that is longer than what is read of it, say so: else every worker is asked before every batch
        whether there is one.
        """
        if not self.are_several:
            return batches
        if is_endless:
            batches = batches.apply(tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY))
        return self._strategy.distribute_datasets_from_function(lambda _: batches)

    def total(self, counts: list[int]) -> list[int]:
        """The sums of every worker's counts."""
        if not self.are_several:
            return counts
        with tf.device("CPU"):
            own = tf.constant(counts, tf.int64)
        return self._strategy.reduce("SUM", own, axis=None).numpy().tolist()

    def check_same(self, fact: object, complaint: str) -> None:
        """Raises `UserError` on every worker unless all have the same fact: it names who has not, and complains."""
        own = [0] * len(self.addresses)
        own[self.index] = int.from_bytes(hashlib.sha256(repr(fact).encode()).digest()[:7])
        of_all = self.total(own)
        for index, address in enumerate(self.addresses):
            if of_all[index] != of_all[0]:
                raise UserError(f"worker {index}, {address}, {complaint}")

    @contextlib.contextmanager
    def chief_first(self) -> Iterator[None]:
        """What the chief does within it is done before the others do it."""
        if not self.is_chief:
            self.total([0])
        yield
        if self.is_chief and self.are_several:
            self.total([0])

    @contextlib.contextmanager
    def losses_told(self) -> Iterator[None]:
        """Raises `Stopped`, which says who it is, where another worker is gone meanwhile."""
        try:
            yield
        except LOST as error:
            found = [int(index) for index in re.findall(r"/task:(\d+)", error.message)]
            others = [index for index in found if index != self.index]
            if not self.are_several or not others:
                raise
            # Who is not beside the lost one in the ring of a sum learns of it as the chief's heartbeat ends.
            by_chief = "CoordinationService" in error.message and len(self.addresses) > 2
            doubt = ", or has stopped for another's loss" if by_chief else ""
            gone = f"worker {others[-1]}, {self.addresses[others[-1]]}, is gone{doubt}"
            raise Stopped(f"{gone}: worker {self.index} stops, and the last checkpoint stands") from error


class Agreement:
    """What the workers wish, asked between steps: the answer is the same for all, and comes about once a second.

    How many steps that is the chief says, by its clock.
    """

    def __init__(self, workers: Workers):
        self._workers, self._every, self._left, self._asked = workers, 1, 1, time.monotonic()

    def __call__(self, *wishes: bool) -> list[bool]:
        """For each wish whether any worker has it; none is heard before its time."""
        if not self._workers.are_several:
            return list(wishes)
        self._left -= 1
        if self._left:
            return [False] * len(wishes)
        now = time.monotonic()
        wanted = round(self._every * SECONDS_BETWEEN / max(now - self._asked, 1e-3))
        own = min(max(wanted, 1), 2 * self._every) if self._workers.is_chief else 0
        *wished, self._every = self._workers.total([*map(int, wishes), own])
        self._left, self._asked = self._every, now
        return [count > 0 for count in wished]
