"""An exported model as what is measured: called through its signatures, its facts read from its files."""

import pathlib

import tensorflow as tf

from cgc_tf.common import graphs
from cgc_tf.common.errors import UserError, first_line
from cgc_tf.evaluation import evaluated_models
from cgc_tf.report import model_card


def from_saved_model(path, folder, image_size=None, labels=None):
    """An exported model, called through its signatures alone.

    A signature over image tensors is used where there is one, and else the one over encoded pictures: each image is
    then framed and encoded as PNG so that the export's own center crop gives back exactly these pixels, in whole
    numbers of 0..255. Such a model is measured on center views only, and explains the predicted class unless a
    signature takes a class.

    Args:
        path: a version's folder, with saved_model.pb, or the folder of versions, whose highest is taken.
        folder: where reports go.
        image_size: its side in pixels, where neither its model card nor its signatures say it.
        labels: the names of its classes in the order of its outputs, where it does not name them itself.

    Raises:
        UserError: there is no SavedModel, or none that explains; or what is told is too little, or not so.
    """
    version = model_card.version_of(path)
    source, card = f"--saved_model={path}", model_card.read(version) or {}
    try:
        loaded = tf.saved_model.load(str(version))
    except (OSError, ValueError, tf.errors.OpError) as error:
        raise UserError(f"--saved_model={version} cannot be loaded: {first_line(error)}") from error
    answering = [s for s in loaded.signatures.values() if {"heatmap", "probabilities"} <= set(s.structured_outputs)]
    explaining = [signature for signature in answering if _image_input(signature) is not None]
    if not explaining:
        raise UserError(
            f"{source} has no signature from images to probabilities and a heatmap, only {', '.join(loaded.signatures)}"
        )
    best = max(explaining, key=lambda s: (_image_input(s).dtype != tf.string, bool(_class_inputs(s))))
    images = _image_input(best)
    if images.dtype == tf.string and not card:
        raise UserError(f"{source} takes encoded pictures, and has no model card: nothing says what it sees of them")
    of_signature = None if images.dtype == tf.string else images.shape[1]
    size = _image_size(source, card.get("image_size"), of_signature, image_size)
    own_names = model_card.read_labels(version / model_card.LABELS)
    names = evaluated_models.check_labels(source, own_names, labels)
    notes = [] if own_names else [evaluated_models.TOLD_LABELS]
    if not card:
        notes.append("it has no model card: it is given RGB images in 0..255, whatever it was made for")
    outputs = best.structured_outputs["probabilities"].shape[-1]
    if outputs not in (None, len(names)):
        raise UserError(f"{source} has {outputs} outputs, but {len(names)} names of classes")

    def call(pictures, class_ids, owner=loaded):  # which holds the variables, as its signatures do not
        arguments = {images.name: _framed(pictures, size) if images.dtype == tf.string else _as(pictures, images)}
        arguments |= {name: tf.cast(class_ids, spec.dtype) for name, spec in _class_inputs(best).items()}
        return best(**arguments)

    def probabilities(pictures):
        return call(pictures, tf.zeros([tf.shape(pictures)[0]], tf.int32))["probabilities"]

    return evaluated_models.EvaluatedModel(
        name=f"{version.parent.name}/{version.name}" if version.name.isdecimal() else version.name,
        folder=pathlib.Path(folder),
        settings=model_card.trained_on(version),
        image_size=size,
        class_names=names,
        probabilities=graphs.function(probabilities, reduce_retracing=True),
        explain=graphs.function(lambda pictures, ids: call(pictures, ids)["heatmap"], reduce_retracing=True),
        checkpoint=card.get("checkpoint"),
        takes_any_size=images.dtype != tf.string and images.shape[1] is None,
        takes_any_class=bool(_class_inputs(best)),
        history=tuple(card.get("history") or ()),
        notes=tuple(notes),
    )


def _image_size(source, of_card, of_signature, told):
    known = of_card or of_signature
    if not (known or told):
        raise UserError(f"--image_size is missing: {source} does not say it")
    for size in filter(None, (of_signature, told)):
        if known and size != known:
            raise UserError(f"--image_size={size}: {source} takes images of {known} pixels")
    return known or told


def _image_input(signature):
    specs = signature.structured_input_signature[1].values()
    found = (spec for spec in specs if spec.dtype == tf.string or spec.shape.rank == 4)
    return next(found, None)


def _class_inputs(signature):
    specs = signature.structured_input_signature[1].items()
    return {name: spec for name, spec in specs if spec.dtype.is_integer and spec.shape.rank == 1}


def _as(pictures, spec):
    if spec.dtype.is_integer:
        pictures = tf.clip_by_value(tf.round(tf.cast(pictures, tf.float32)), 0, 255)
    return tf.cast(pictures, spec.dtype)


def _framed(pictures, size):
    """PNGs, string `[B]`, whose center view (`geometry.center_view`) is the given S x S pixels."""
    frame = round(size * 256 / 224) - size
    # The view starts at round(frame / 2), halves to even.
    before = round(frame / 2)
    paddings = [[0, 0], [before, frame - before], [before, frame - before], [0, 0]]
    whole = tf.clip_by_value(tf.round(tf.cast(pictures, tf.float32)), 0, 255)
    whole = tf.pad(tf.cast(whole, tf.uint8), paddings)
    return tf.map_fn(tf.io.encode_png, whole, fn_output_signature=tf.string)
