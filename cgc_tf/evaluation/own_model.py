"""A `CGCModel` in memory, and a dataset of one's own, as something to measure: no folder is read or written."""

import dataclasses
from typing import Any

import tensorflow as tf

from cgc_tf.common.errors import UserError
from cgc_tf.data import own_dataset
from cgc_tf.data.source import Source
from cgc_tf.evaluation import evaluated_models
from cgc_tf.evaluation.evaluated_models import EvaluatedModel
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.method.for_pictures import for_pictures, image_size_of
from cgc_tf.method.model import CGCModel
from cgc_tf.training.config import Config

NOWHERE: Any = None  # the folder of a model that has none


def opened(model: CGCModel, dataset: Source | tf.data.Dataset, protocol: Protocol) -> tuple[EvaluatedModel, Source]:
    """What to measure, and what on.

    Args:
        model: the model.
        dataset: a `Source` of the model's classes in its order, or a `tf.data.Dataset` as `own_dataset` takes it, whose
            `class_names` are used if it has such.
        protocol: how to measure.

    Raises:
        UserError: the dataset is no such, is of other classes, or the protocol names another.
        ValueError: the model does not say of which size its images are.
    """
    unread = [name for name in ("dataset", "data_dir", "on_bad_image") if getattr(protocol, name) is not None]
    if unread:
        raise UserError(f"Protocol({unread[0]}=...) is not used: a model object is measured on the dataset beside it")
    names = tuple(getattr(dataset, "class_names", None) or map(str, range(model.classes)))
    if len(names) != model.classes:
        raise UserError(f"the model has {model.classes} classes, and the dataset {len(names)}")
    source = dataset if isinstance(dataset, Source) else own_dataset.source_of(dataset, names)
    evaluated = evaluated_models.of_model(for_pictures(model), model.name, "", known_of(model), names)
    return dataclasses.replace(evaluated, folder=NOWHERE), source


def known_of(model: CGCModel) -> dict:
    """How a model in memory was trained, {name of a `Config`'s field: value}; None for what nobody knows.

    Its objective is known where it was trained in this process, or read from a file that was saved after training.

    Raises:
        ValueError: the model does not say of which size its images are.
    """
    known = {"image_size": image_size_of(model), "cam": model.objective.cam}
    if model.image_size:
        known |= dataclasses.asdict(model.objective)
        known["objective"] = known.pop("kind")
    return {field.name: known.get(field.name) for field in dataclasses.fields(Config)}
