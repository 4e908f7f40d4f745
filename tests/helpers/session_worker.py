"""Runs an exported version as TensorFlow Serving does: by `Session::Run`, past Python's own check of shapes.

    python session_worker.py VERSION calls.pickle answers.pickle REPEATS

A process of its own, because what it looks for is an end of the process. The calls are {group: a list of `(signature,
{input's name: array})`}. Of each, one after the other, it writes `(group, (status, {output's name: array}))`; and then
what `load` says of so many repeats of the group "load".
"""

import collections
import os
import pathlib
import pickle
import re
import sys
from concurrent import futures

import numpy as np
import tensorflow as tf


class Session:
    """One version in a TensorFlow 1 session."""

    def __init__(self, version):
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            self._signatures = tf.compat.v1.saved_model.load(self._session, ["serve"], version).signature_def
        self._session._extend_graph()

    def run(self, call):
        """`("OK", {output's name: array})`, or an error's code and {}; nothing compares inputs with the signature."""
        signature, inputs = call
        definition = self._signatures[signature]
        feeds = {self._tensor(definition.inputs[name]): value for name, value in inputs.items()}
        fetches = [self._tensor(info) for info in definition.outputs.values()]
        try:
            values = self._session._call_tf_sessionrun(None, feeds, fetches, [], None)
        except tf.errors.OpError as error:
            return type(error).__name__, {}
        return "OK", dict(zip(definition.outputs, values, strict=True))

    def _tensor(self, info):
        return self._session.graph.get_tensor_by_name(info.name)._as_tf_output()


def is_same(one, other):
    """Whether two answers are, but for rounding: a thread adds up in its own order."""
    return one[0] == other[0] and all(
        np.allclose(value, other[1][name], atol=1e-5) if value.dtype.kind == "f" else (value == other[1][name]).all()
        for name, value in one[1].items()
    )


def load(session, calls, answers, repeats):
    """Repeats the calls by eight threads at once.

    Returns:
        A dict: `different`, how many answers were not the first ones; `memory`, kilobytes, and `threads`, each a pair,
        after half of the calls and after all.
    """

    def differs(index):
        return not is_same(session.run(calls[index % len(calls)]), answers[index % len(calls)])

    with futures.ThreadPoolExecutor(8) as pool:
        different = sum(pool.map(differs, range(repeats // 2)))
        before = usage()
        different += sum(pool.map(differs, range(repeats // 2, repeats)))
        after = usage()
    return {"different": different, **{name: (before[name], after[name]) for name in before}}


def usage():
    """Kilobytes of memory and number of threads of this process."""
    status = collections.defaultdict(int, re.findall(r"(\w+):\s+(\d+)", pathlib.Path("/proc/self/status").read_text()))
    return {"memory": int(status["VmRSS"]), "threads": len(os.listdir("/proc/self/task"))}


if __name__ == "__main__":
    version, asked, answered, repeats = sys.argv[1:]
    groups = pickle.loads(pathlib.Path(asked).read_bytes())
    session, answers = Session(version), collections.defaultdict(list)
    with open(answered, "wb", buffering=0) as file:
        for group, calls in groups.items():
            for call in calls:
                answers[group].append(session.run(call))
                pickle.dump((group, answers[group][-1]), file)
        pickle.dump(("left", load(session, groups["load"], answers["load"], int(repeats))), file)
