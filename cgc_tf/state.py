"""All that training changes in a model, as arrays, and back."""

import re

import keras
import numpy as np

from cgc_tf.errors import UserError

UNNAMED = re.compile(r"variable_\d+")


def state_of(model):
    """Copies of all that training changes in a compiled model: {"group/index/name": array}.

    Groups are `model` (weights, statistics, the seeds of random layers), `optimizer` (iterations, momenta, moving
    averages, loss scale) and `metrics` (sums over the epoch so far).
    """
    return {name: np.array(keras.ops.convert_to_numpy(variable)) for name, variable in _variables(model).items()}


def restore(state, model, groups=("model", "optimizer"), source="the checkpoint"):
    """Puts groups of a state into a model of the same architecture, compiled alike if `optimizer` is among them.

    Raises:
        UserError: the state is of another model; nothing has been put in then.
    """
    offered = {name: array for name, array in state.items() if name.split("/")[0] in groups}
    wanted = {name: variable for name, variable in _variables(model).items() if name.split("/")[0] in groups}
    other = [name for name in {**wanted, **offered} if name not in wanted or name not in offered]
    other += [name for name in wanted if name in offered and tuple(wanted[name].shape) != offered[name].shape]
    if other:
        raise UserError(
            f"{source} does not fit this model (another backbone, head, number of classes or optimizer?): "
            f"{len(other)} of its variables differ, first {other[0]}"
        )
    for name, variable in wanted.items():
        variable.assign(offered[name])


def _variables(model):
    groups = {"model": model.variables, "metrics": model.metrics_variables}
    if getattr(model, "optimizer", None):
        groups["optimizer"] = model.optimizer.variables
    # Paths, and names that no one has given, count what the process has made before.
    return {
        f"{group}/{index:04d}/{UNNAMED.sub('variable', variable.name)}": variable
        for group, variables in groups.items()
        for index, variable in enumerate(variables)
    }
