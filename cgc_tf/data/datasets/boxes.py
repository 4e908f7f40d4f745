"""Photographs of objects in boxes, as TFDS keeps them: their features, and boxes as shares of the image."""

import numpy as np
import tensorflow_datasets as tfds


def photographs(builder, homepage, license, names=None, **more):
    """The `tfds.core.DatasetInfo` of a builder of labeled JPEG files with boxes.

    Args:
        builder: the `tfds.core.DatasetBuilder`.
        homepage: its publisher's.
        license: a sentence.
        names: of the classes; None where the files name them, which are not read yet.
        more: further features.
    """
    features = {
        "image": tfds.features.Image(encoding_format="jpeg"),
        "label": tfds.features.ClassLabel(names=names),
        "boxes": tfds.features.Sequence(tfds.features.BBoxFeature()),
        "id": tfds.features.Text(),
        **more,
    }
    return builder.dataset_info_from_configs(
        features=tfds.features.FeaturesDict(features),
        supervised_keys=("image", "label"),
        homepage=homepage,
        license=license,
    )


def from_edges(left, top, right, bottom, width, height):
    """The part of a rectangle that lies inside the image.

    Args:
        left, top, right, bottom: the rectangle's edges in pixels from the image's left and top edges: pixel 0 lies
            between 0 and 1, so pixels a to b, both included and counted from 1, have the edges a - 1 and b.
        width, height: of the image, in pixels.

    Returns:
        A list with one `tfds.features.BBox` in [0, 1]; without any where nothing of the rectangle is inside.
    """
    left, right = (min(max(edge / width, 0.0), 1.0) for edge in (left, right))
    top, bottom = (min(max(edge / height, 0.0), 1.0) for edge in (top, bottom))
    if left >= right or top >= bottom:
        return []
    return [tfds.features.BBox(ymin=top, xmin=left, ymax=bottom, xmax=right)]


def of_mask(mask):
    """The tight box round the pixels of `mask` `[H, W]` that are not 0: a list as of `from_edges`."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    height, width = mask.shape
    return from_edges(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1, width, height)
