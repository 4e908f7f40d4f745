"""A heatmap drawn over its image, and boxes drawn around its objects."""

from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

COLORS = matplotlib.colormaps["inferno"]
STRENGTH = 0.75
BOX_COLOR = (47, 227, 106)  # red, green, blue
WHOLE = (0.0, 0.0, 1.0, 1.0)


def overlay(image: np.ndarray, heatmap: np.ndarray, box: Sequence[float] = WHOLE) -> np.ndarray:
    """Draws a heatmap over its image: the hotter, the more of the perceptual color map shows.

    Args:
        image: uint8 `[H, W, 3]`.
        heatmap: float `[h, w]`, >= 0; scaled by its own peak.
        box: the part of the image that the heatmap covers, [ymin, xmin, ymax, xmax] in [0, 1].

    Returns:
        uint8 `[H, W, 3]`. A heatmap that is all zero leaves the image as it is.
    """
    height, width = image.shape[:2]
    top, left, bottom, right = np.rint(np.multiply(box, [height, width, height, width])).astype(int)
    heat = np.zeros([height, width], np.float32)
    peak = float(np.max(heatmap))
    if peak > 0:
        scaled = np.asarray(heatmap, np.float32) / peak
        heat[top:bottom, left:right] = cv2.resize(scaled, (right - left, bottom - top))
    weight = STRENGTH * heat[..., None] ** 0.7
    return np.rint(image * (1 - weight) + 255 * COLORS(heat)[..., :3] * weight).astype(np.uint8)


def show(axis: Axes, image: np.ndarray, boxes: np.ndarray) -> None:
    """Shows an image, uint8 `[H, W, 3]`, with its boxes, `[n, 4]` in [0, 1], on a matplotlib axis."""
    axis.imshow(image)
    outline(axis, image, boxes, BOX_COLOR)


def outline(axis: Axes, image: np.ndarray, boxes: np.ndarray, color: Sequence[float]) -> None:
    """Draws boxes, `[n, 4]` in [0, 1], on an axis that shows an image; `color` is red, green, blue, 0 to 255."""
    height, width = image.shape[:2]
    for ymin, xmin, ymax, xmax in boxes:
        corner, extent = (xmin * width, ymin * height), ((xmax - xmin) * width, (ymax - ymin) * height)
        axis.add_patch(Rectangle(corner, *extent, fill=False, edgecolor=np.divide(color, 255), linewidth=1.2))
