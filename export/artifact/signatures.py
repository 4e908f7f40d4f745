"""The exported model's signatures: functions of core TensorFlow operations, from pictures to predictions and reasons.

| signature | inputs | outputs |
| --- | --- | --- |
| `serving_default` | `image_bytes` | predictions |
| `explain` | `image_bytes` | predictions, `heatmap` of the predicted class, `heatmap_box` |
| `explain_class` | `image_bytes`, `class_id` | the same, the heatmap being of the class asked for |
| `explain_checked` | `image_bytes` | as `explain`, and `consistency`, `consistency_by_copy` |
| `overlay` | `image_bytes` | `overlay_png_bytes` |
| `predict_tensor`, `explain_tensor` | `images`, float32 | predictions; and `heatmap` |
| `predict_tensor_uint8`, `explain_tensor_uint8` | `images`, uint8 | the same |

TensorFlow Serving does not compare inputs with the signature, and TensorFlow ends the process at some wrong ranks. So
each function checks its inputs' shapes itself, before anything else.
"""

import tensorflow as tf

from cgc_tf.common import graphs
from cgc_tf.method import losses, resizing

from . import pictures
from .computing import computing_with, of_peak_one, smallest_side

ENCODED = tf.TensorSpec([None], tf.string, name="image_bytes")
CLASS_ID = tf.TensorSpec([None], tf.int32, name="class_id")
ON_BAD_IMAGE = ("blank", "error")
FAR = 1.5 * 255  # from the middle of 0..255: so -255 and 510 are still taken, for what resizing overshoots


class Signatures:
    """A `CGCModel`'s functions, to be saved as signatures.

    Predictions are `probabilities` float32 `[B, classes]`; `class_id` int32, `label` string and `score` float32 `[B]`;
    and `top5_class_id`, `top5_label`, `top5_score` `[B, 5]` (fewer where there are fewer classes). A heatmap is float32
    `[B, h, w]` in 0..1, its peak being 1, and `heatmap_box` `[B, 4]` is the part (ymin, xmin, ymax, xmax, as fractions)
    of each picture that it covers.

    Args:
        model: the `CGCModel`.
        class_names: the names of its classes.
        image_size: the side in pixels of the view that it was trained on.
        variables: None, or {Keras variable's path: `tf.Variable`}, what to compute with instead of the model's own.
        on_bad_image: what one bad example of a batch does: a picture that cannot be decoded, a class that there is not,
            an image with a NaN or with values far outside 0..255. "blank" answers zeros, class -1 and empty text for
            it, and the others as usual, which may be other callers' where a server batches; "error" ends the call, and
            says which of the batch.
        max_pixels: a picture of more is not decoded, and images of more are refused.
    """

    def __init__(
        self, model, class_names, image_size, variables=None, on_bad_image="blank", max_pixels=pictures.MAX_PIXELS
    ):
        self._model, self._class_names, self._size = model, list(class_names), image_size
        self._variables, self._on_bad_image, self._max_pixels = variables or {}, on_bad_image, max_pixels
        sides = model.trunk.input_shape[1:3]  # None, but of a network that takes images of one size alone
        self._images = {dtype: tf.TensorSpec([None, *sides, 3], dtype, "images") for dtype in (tf.float32, tf.uint8)}
        self._least = smallest_side(model, image_size) if None in sides else min(sides)
        # Traced once for each shape, so that signatures share one copy of the network's graph.
        self._probabilities = graphs.function(self._compute_probabilities)
        self._explained = graphs.function(self._compute_explained)
        self._views = graphs.function(self._compute_views, [ENCODED])

    def all(self):
        """{signature's name: `tf.function`}."""
        specs = {
            "serving_default": (self.predict, [ENCODED]),
            "explain": (self.explain, [ENCODED]),
            "explain_class": (self.explain_class, [ENCODED, CLASS_ID]),
            "explain_checked": (self.explain_checked, [ENCODED]),
            "overlay": (self.overlay, [ENCODED]),
            "predict_tensor": (self.predict_tensor, [self._images[tf.float32]]),
            "explain_tensor": (self.explain_tensor, [self._images[tf.float32]]),
            "predict_tensor_uint8": (self.predict_tensor, [self._images[tf.uint8]]),
            "explain_tensor_uint8": (self.explain_tensor, [self._images[tf.uint8]]),
        }
        return {name: graphs.function(function, inputs) for name, (function, inputs) in specs.items()}

    def predict(self, image_bytes):
        """Predictions for encoded pictures, string `[B]`."""
        views, _, decoded = self._views(image_bytes)
        return _blanked(self._predictions(self._probabilities(views)), decoded)

    def explain(self, image_bytes):
        """Predictions, `heatmap` of the predicted class, `heatmap_box`."""
        views, boxes, decoded = self._views(image_bytes)
        return _blanked({**self._answer(self._explained(views)), "heatmap_box": boxes}, decoded)

    def explain_class(self, image_bytes, class_id):
        """`explain` with the heatmap of the class asked for; `class_id` int32 `[B]`."""
        class_id = tf.ensure_shape(class_id, CLASS_ID.shape)
        same = tf.size(class_id) == tf.size(image_bytes)
        check = tf.debugging.Assert(same, ["class_id is not as long as image_bytes but", tf.size(class_id)])
        with tf.control_dependencies([check]):
            known = (class_id >= 0) & (class_id < len(self._class_names))
        known = self._judged(known, f"class_id: no class from 0 to {len(self._class_names) - 1}")
        views, boxes, decoded = self._views(image_bytes)
        explained = self._explained(views, tf.where(known, class_id, 0))
        return _blanked({**self._answer(explained), "heatmap_box": boxes}, decoded & known)

    def explain_checked(self, image_bytes):
        """`explain`, and how much the heatmap stays where it was on a mirrored and on a cropped copy of the picture.

        `consistency_by_copy` float32 `[B, 2]`: the cosine, at the view's own size, between the heatmap and that of the
        same class on a mirrored and on a cropped copy (the middle three quarters), where both show the same part.
        `consistency` `[B]` is their mean: 1 for heatmaps that agree; 0 where one of the two is all zero, or has
        nothing in that part. It measures no more than that. On the demo's 512 test pictures its rank correlation with
        Content Heatmap was 0.06, and its AUROC for a right prediction 0.56, where the plain score has 0.73.
        """
        views, boxes, decoded = self._views(image_bytes)
        size, edge = self._size, self._size // 8
        answer = self._explained(views)
        cropped = views[:, edge : size - edge, edge : size - edge]
        copies = tf.concat(
            [views[:, :, ::-1], tf.cast(resizing.resize_image(cropped, (size, size), enlarges=True), tf.float32)], 0
        )
        others = self._explained(copies, tf.tile(answer["class_id"], [2]))["heatmap"]
        transforms = [[0, 0, size, size, 1], [edge, edge, size - 2 * edge, size - 2 * edge, 0]]
        cosines = losses.agreement(
            tf.tile(answer["heatmap"], [2, 1, 1]),
            others,
            tf.repeat(tf.constant(transforms), tf.fill([2], tf.shape(views)[0]), 0),
            (size, size),
        )[0]
        by_copy = tf.transpose(tf.reshape(cosines, [2, -1]))
        consistency = {"consistency": tf.reduce_mean(by_copy, -1), "consistency_by_copy": by_copy}
        return _blanked({**self._answer(answer), "heatmap_box": boxes, **consistency}, decoded)

    def overlay(self, image_bytes):
        """`overlay_png_bytes` string `[B]`: each picture at its own size, its heatmap drawn over it."""
        answer = self.explain(image_bytes)
        drawn = pictures.overlays(image_bytes, answer["heatmap"], answer["heatmap_box"], self._max_pixels)
        return {"overlay_png_bytes": drawn}

    def predict_tensor(self, images):
        """Predictions for decoded images, `[B, H, W, 3]` in 0..255, seen whole and as they are."""
        images = self._checked(images)
        return self._of_numbers(images, self._predictions(self._probabilities(images)))

    def explain_tensor(self, images):
        """`predict_tensor`, and `heatmap` of the predicted class, which covers the whole image."""
        images = self._checked(images)
        return self._of_numbers(images, self._answer(self._explained(images)))

    def _compute_probabilities(self, images):
        with computing_with(self._model, self._variables):
            return tf.nn.softmax(self._model(images, training=False))

    def _compute_explained(self, images, class_ids=None):
        with computing_with(self._model, self._variables):
            return self._model.explain(images, class_ids)

    def _compute_views(self, image_bytes):
        image_bytes = tf.ensure_shape(image_bytes, ENCODED.shape)
        with tf.control_dependencies([tf.debugging.Assert(tf.size(image_bytes) > 0, ["image_bytes is empty"])]):
            image_bytes = tf.identity(image_bytes)
        views, boxes, decoded = pictures.views(image_bytes, self._size, self._max_pixels)
        decoded = self._judged(
            decoded, f"image_bytes: no {pictures.KINDS} picture of at most {self._max_pixels} pixels"
        )
        return tf.cast(views, tf.float32), boxes, decoded

    def _checked(self, images):
        """Images `[B, H, W, 3]` as float32; INVALID_ARGUMENT for another rank, none, too few or too many pixels."""
        images = tf.ensure_shape(images, self._images[tf.float32].shape)
        count, height, width = tf.unstack(tf.cast(tf.shape(images, tf.int64)[:3], tf.float64))
        fits = (count >= 1) & (tf.minimum(height, width) >= self._least) & (height * width <= self._max_pixels)
        sizes = f"of sides from {self._least} and at most {self._max_pixels} pixels"
        wrong = [f"images must be one or more, {sizes}, not", tf.shape(images, tf.int64)]
        with tf.control_dependencies([tf.debugging.Assert(fits, wrong, summarize=4)]):
            return tf.cast(images, tf.float32)

    def _of_numbers(self, images, answer):
        """The answer, judged by example: it is none for images with NaN or with values far outside 0..255.

        For these a network may answer something that is finite: that depends on the order of its sums.
        """
        near = tf.abs(images - 127.5) <= FAR  # NaN is not
        finite = [tf.math.is_finite(value) for value in answer.values() if value.dtype.is_floating]
        good = [tf.reduce_all(each, range(1, each.shape.rank)) for each in (near, *finite)]
        fault = "images: values far outside 0..255, or no finite answer"
        return _blanked(answer, self._judged(tf.reduce_all(good, 0), fault))

    def _judged(self, good, fault):
        """`good`, bool `[B]`; with `on_bad_image="error"` the call ends where one is false, with its places."""
        if self._on_bad_image == "blank":
            return good
        places = tf.reshape(tf.where(~good), [-1])
        message = f"{fault} at these places of the batch, from 0:"
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(good), [message, places], summarize=50)]):
            return tf.identity(good)

    def _answer(self, explained):
        return {**self._predictions(explained["probabilities"]), "heatmap": of_peak_one(explained["heatmap"])}

    def _predictions(self, probabilities):
        scores, class_ids = tf.math.top_k(probabilities, min(5, len(self._class_names)))
        labels = tf.gather(tf.constant(self._class_names), class_ids)
        top = {"class_id": class_ids, "label": labels, "score": scores}
        first = {name: value[:, 0] for name, value in top.items()}
        return {"probabilities": probabilities, **first, **{f"top5_{name}": value for name, value in top.items()}}


def _blanked(answer, good):
    """The answer with class -1, empty text and zeros for the examples that are not `good`, bool `[B]`."""

    def blank(value):
        empty = tf.constant({tf.string: "", tf.int32: -1}.get(value.dtype, 0), value.dtype)
        return tf.where(tf.reshape(good, [-1] + [1] * (value.shape.rank - 1)), value, empty)

    return {name: blank(value) for name, value in answer.items()}
