"""All that training changes in a model, as arrays, and back."""

import contextlib
import re
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from cgc_tf.common.errors import UserError

State = dict[str, np.ndarray]  # {"group/index/name": array}
TRAINED = ("model", "average", "optimizer")  # the groups of a state that training goes on from
UNNAMED = re.compile(r"variable_\d+")


def state_of(model: keras.Model) -> State:
    """Copies of all that training changes in a compiled model: {"group/index/name": array}.

    Groups are `model` (weights, statistics, the seeds of random layers), `average` (the moving averages of the weights
    that are not frozen, where there are some), `optimizer` (iterations, momenta, loss scale) and `metrics` (sums over
    the epoch so far).
    """
    return {name: _array(variable) for name, variable in _variables(model).items()}


def restore(
    state: State, model: keras.Model, groups: Sequence[str] = TRAINED, source: object = "the checkpoint"
) -> None:
    """Puts groups of a state into a model of the same architecture, compiled alike if `optimizer` is among them.

    Raises:
        UserError: the state is of another model; nothing has been put in then.
    """
    _put(_of(state, groups), _of(_variables(model), groups), source)


def restore_trained(state: State, model: keras.Model, source: object = "the checkpoint") -> None:
    """Makes a model what a state's training has come to: with the averages of its weights, where it has some.

    The model need not be compiled, and may compute in another precision than it was trained in.

    Raises:
        UserError: as `restore`.
    """
    _put(_of(state, ["model"]), _of(_variables(model), ["model"]), source)
    averages, weights = _of(state, ["average"]), _named("average", _weights(model))
    # Layers that the other training has frozen have none: what they are is what they were.
    _put(averages, {name: weights[name] for name in averages if name in weights}, source)


@contextlib.contextmanager
def averaged(model: keras.Model) -> Iterator[None]:
    """Within it a compiled model's weights are their moving averages, where it keeps some; after it what they were."""
    weights, averages = model.trainable_variables, averages_of(model)
    if not averages:
        yield
        return
    own = [_array(variable) for variable in weights]
    _assign(weights, [_array(variable) for variable in averages])
    try:
        yield
    finally:
        _assign(weights, own)


def averages_of(model: keras.Model) -> list[keras.Variable]:
    """The Keras variables that hold the moving average of each trainable one of a compiled model; none if it has none.

    Keras keeps them in its optimizers, which may be several and may be wrapped by one that scales the loss.
    """
    optimizer, averages = getattr(model.optimizer, "inner_optimizer", model.optimizer), {}
    for each in getattr(optimizer, "optimizers", [optimizer]):
        if each.use_ema:
            pairs = zip(each._trainable_variables, each._model_variables_moving_average, strict=True)
            averages |= {variable.path: average for variable, average in pairs}
    return [averages[variable.path] for variable in model.trainable_variables] if averages else []


def _variables(model):
    variables = _named("model", model.variables) | _named("metrics", model.metrics_variables)
    if getattr(model, "optimizer", None):
        averages = averages_of(model)
        if averages:
            named = _named("average", _weights(model)).items()
            variables |= zip([name for name, weight in named if weight.trainable], averages, strict=True)
        of_average = {id(average) for average in averages}
        variables |= _named("optimizer", [v for v in model.optimizer.variables if id(v) not in of_average])
    return variables


def _weights(model):
    """What can be trained in a model, whether it is frozen or not."""
    own = {id(weight) for layer in model._flatten_layers() for weight in layer._trainable_variables}
    return [variable for variable in model.variables if id(variable) in own]


def _named(group, variables):
    return dict(zip(_names(group, variables), variables, strict=True))


def _names(group, variables):
    # Paths, and names that no one has given, count what the process has made before.
    return [f"{group}/{index:04d}/{UNNAMED.sub('variable', each.name)}" for index, each in enumerate(variables)]


def _of(state, groups):
    return {name: value for name, value in state.items() if name.split("/")[0] in groups}


def _put(offered, wanted, source):
    other = [name for name in {**wanted, **offered} if name not in wanted or name not in offered]
    other += [name for name in wanted if name in offered and tuple(wanted[name].shape) != offered[name].shape]
    if other:
        raise UserError(
            f"{source} does not fit this model (another backbone, head, number of classes or optimizer?): "
            f"{len(other)} of its variables differ, first {other[0]}"
        )
    _assign(wanted.values(), [offered[name] for name in wanted])


def _assign(variables, arrays):
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)


def _array(variable):
    return np.array(keras.ops.convert_to_numpy(variable))
