"""Every way to explain a prediction behind one interface: images and class ids -> heatmaps.

Class activation maps that can be trained with come from the model itself, three more from its trunk and head; the
others from tf-explain, whose core functions are called here rather than its `explain`, which takes one class for a
whole batch and returns a picture. An explainer is

    explain(images [B, H, W, 3] in 0..255, class_ids int [B]) -> float32 [B, h, w], >= 0

and does not mix examples, so that a batch's size changes no heatmap.
"""

import math

import numpy as np
import tensorflow as tf

from cgc_tf.common import graphs
from cgc_tf.evaluation import scorecam as of_image
from cgc_tf.method import gradcam
from cgc_tf.method.gradcam import CAMS

STEPS = 16  # of the path of integrated gradients
SAMPLES, NOISE = 8, 0.15  # of SmoothGrad; noise as a share of the range 0..255
PATCHES = 14  # of occlusion, along the shorter side


def make(name, model, seed=0):
    """An explainer by name.

    Args:
        name: one of `NAMES`; "" is the class activation map that the model was trained with.
        model: a `CGCModel`.
        seed: of SmoothGrad's noise.

    Raises:
        ValueError: for an unknown name.
    """
    if name in ("", *CAMS):
        cam = name or None
        return graphs.function(
            lambda images, ids: model.explain(images, ids, cam=cam)["heatmap"], reduce_retracing=True
        )
    if name not in NAMES:
        raise ValueError(f"an explainer is one of {', '.join(NAMES)}. Received: {name}")
    return OTHERS[name](model, seed)


def finercam(model, _):
    """Grad-CAM of what tells the class from those most like it: see `gradcam.finer`."""

    @graphs.function(reduce_retracing=True)
    def explain(images, class_ids):
        features, head = model.features_and_head(images)
        found = gradcam.class_gradients(head, features, class_ids, gradcam.finer)
        return gradcam.heatmap("gradcam", features, found[1])

    return explain


def eigencam(model, _):
    """The features' first principal component, the same for every class: see `gradcam.eigencam`."""
    return graphs.function(
        lambda images, _: gradcam.eigencam(model.features_and_head(images)[0]), reduce_retracing=True
    )


def scorecam(model, _):
    """A forward pass for each channel: see `scorecam.scorecam`."""
    parts = (lambda images: model.features_and_head(images)[0], lambda images: model(images, training=False))
    trunk, logits = (graphs.function(part, reduce_retracing=True) for part in parts)
    return _one_by_one(lambda image, class_id: of_image.scorecam(trunk, logits, image, class_id))


def vanilla_gradients(model, _):
    """|d logit / d image|, summed over colors (Simonyan et al., 2014)."""
    from tf_explain.core.vanilla_gradients import VanillaGradients

    gradients = _gradients(VanillaGradients, lambda images: model(images, training=False))
    return lambda images, class_ids: _over_colors(gradients(images, class_ids))


def gradients_inputs(model, _):
    """|image * d logit / d image|, summed over colors (Shrikumar et al., 2016)."""
    from tf_explain.core.gradients_inputs import GradientsInputs

    products = _gradients(GradientsInputs, lambda images: model(images, training=False))
    return lambda images, class_ids: _over_colors(products(images, class_ids))


def integrated_gradients(model, _):
    """|image * mean gradient of the probability on the way from black| (Sundararajan et al., ICML 2017, eq. 3).

    tf-explain's own stops at the mean gradient, and takes images of one size only.
    """
    from tf_explain.core.integrated_gradients import IntegratedGradients
    from tf_explain.core.vanilla_gradients import VanillaGradients

    gradients = _gradients(VanillaGradients, _probabilities(model))

    def explain(image, class_id):
        path = IntegratedGradients.generate_interpolations(image.numpy()[None], STEPS)
        along = gradients(tf.constant(path, tf.float32), tf.repeat(class_id, STEPS))
        return _over_colors(image * tf.reduce_mean(along, 0))

    return _one_by_one(explain)


def smoothgrad(model, seed):
    """|mean gradient of the log probability under noise|, summed over colors (Smilkov et al., 2017).

    tf-explain draws its noise without a seed, and so faintly (1 of 255) that it does nothing; this is the paper's 15
    percent of the range, the same for each image.
    """
    from tf_explain.core.vanilla_gradients import VanillaGradients

    gradients = _gradients(VanillaGradients, lambda images: tf.nn.log_softmax(model(images, training=False)))

    def explain(image, class_id):
        noise = 255 * NOISE * tf.random.stateless_normal([SAMPLES, *image.shape], (seed, 0))
        return _over_colors(tf.reduce_mean(gradients(image[None] + noise, tf.repeat(class_id, SAMPLES)), 0))

    return _one_by_one(explain)


def occlusion(model, _):
    """How far the probability falls under a gray patch, for each of about 14 x 14 patches (Zeiler & Fergus, ECCV 2014).

    tf-explain's own loop mixes up rows and columns unless images are square, and scores 1 - probability, which is
    high everywhere for a class that is not predicted; its patches are used, and the fall is measured.
    """
    from tf_explain.utils.image import apply_grey_patch

    probabilities = graphs.function(_probabilities(model), reduce_retracing=True)

    def explain(image, class_id):
        image = image.numpy()
        side = max(1, min(image.shape[:2]) // PATCHES)
        rows, columns = (math.ceil(length / side) for length in image.shape[:2])
        scores = [probabilities(image[None])]
        for row in range(rows):
            patched = [apply_grey_patch(image, side * column, side * row, side) for column in range(columns)]
            scores.append(probabilities(np.stack(patched)))
        scores = tf.concat(scores, 0)[:, class_id]
        fall = tf.nn.relu(scores[0] - tf.reshape(scores[1:], [rows, columns]))
        return tf.repeat(tf.repeat(fall, side, 0), side, 1)[: image.shape[0], : image.shape[1]]

    return _one_by_one(explain)


OTHERS = {
    "finercam": finercam,
    "eigencam": eigencam,
    "scorecam": scorecam,
    "occlusion": occlusion,
    "integrated_gradients": integrated_gradients,
    "smoothgrad": smoothgrad,
    "gradients_inputs": gradients_inputs,
    "vanilla_gradients": vanilla_gradients,
}
NAMES = (*CAMS, *OTHERS)


def _probabilities(model):
    return lambda images: tf.nn.softmax(model(images, training=False))


def _gradients(method, scores):
    """A function, images and class ids -> what a method of tf-explain makes of them and their gradients."""

    @graphs.function(reduce_retracing=True)
    def gradients(images, class_ids):
        def model(images):  # as tf-explain sees it: column 0 is the score of each image's own class
            return tf.gather(scores(images), class_ids, axis=1, batch_dims=1)[:, None]

        return method.compute_gradients(tf.cast(images, tf.float32), model, 0)

    return gradients


def _one_by_one(explain):
    """An explainer of a batch from one of an image `[H, W, 3]` and a class: what it varies makes a batch already."""

    def explain_batch(images, class_ids):
        images = tf.cast(images, tf.float32)
        return tf.stack([explain(image, class_id) for image, class_id in zip(images, class_ids, strict=True)])

    return explain_batch


def _over_colors(gradients):
    return tf.reduce_sum(tf.abs(gradients), -1)
