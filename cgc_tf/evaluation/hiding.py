"""Pictures of which only the object, or only the background, is left."""

from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from cgc_tf.data import views
from cgc_tf.data.source import Source
from cgc_tf.evaluation import curves
from cgc_tf.method import geometry
from cgc_tf.report import verdict


def parts(images: tf.Tensor, regions: tf.Tensor) -> dict[str, tf.Tensor]:
    """Images with the background, and with the object, hidden by the neutral color: zero of the normalized image.

    Args:
        images: `[..., H, W, 3]` in 0..255.
        regions: float32 `[..., H, W]`, 1 inside the object's boxes and 0 outside.

    Returns:
        {"object_only", "background_only": float32 `[..., H, W, 3]` in 0..255}.
    """
    images, inside = tf.cast(images, tf.float32), tf.expand_dims(regions, -1)
    kept = {"object_only": inside, "background_only": 1 - inside}
    return {name: images * share + curves.neutral_color() * (1 - share) for name, share in kept.items()}


def given_away(source: Source, split: str, columns: Mapping, found: Mapping | None, image_size: int) -> list[dict]:
    """For each class that a model recognizes by its background, the picture that shows it best.

    Args:
        source: the data that was measured.
        split: its split.
        columns: a `Measurement`'s, of the source's classes in their order.
        found: what `verdict.backgrounds` gave of them.
        image_size: the side of the model's images in pixels.

    Returns:
        Dicts of `image`, uint8 `[S, S, 3]`, its object hidden, and `caption`: of the first `verdict.NAMED` classes,
        that of which the model is surest so, among those that it also takes for the class when it sees them whole.
    """
    shown = []
    names = [name for name, one in found["classes"].items() if one["by_background"]] if found else []
    for name in names[: verdict.NAMED]:
        place = source.class_names.index(name)
        same = (columns["predicted"] == place) & (columns["background_only_predicted"] == place)
        row = int(np.argmax(np.where(same, columns["background_only_probability"], -1)))
        (example,) = source.examples(split, [int(columns["index"][row])])
        caption = f"{name.replace('_', ' ')}, {100 * columns['background_only_probability'][row]:.0f}% sure"
        shown.append({"image": _without_object(example, image_size), "caption": caption})
    return shown


def _without_object(example: Mapping, size: int) -> np.ndarray:
    view, box = views.original_view(example["image"], size)
    region = geometry.boxes_to_region(geometry.crop_boxes(example["boxes"], box), size, size)
    return np.rint(parts(view, region)["background_only"]).astype(np.uint8)
