"""A server's answer about one picture: as text, as JSON, and drawn over the picture."""

import pathlib
from typing import Any

import numpy as np

from cgc_tf.common.errors import UserError
from cgc_tf.data import exif


def summary(answer: dict[str, Any], with_best: bool) -> str:
    """One line; or, `with_best`, that and the most probable classes."""
    if "label" not in answer:
        return "drawn"
    steadiness = f"  consistency {answer['consistency']:.2f}" if "consistency" in answer else ""
    line = f"{answer['label']} (class {answer['class_id']}), score {answer['score']:.4f}{steadiness}"
    if not with_best or "top5_class_id" not in answer:
        return line
    top = zip(answer["top5_class_id"], answer["top5_score"], answer["top5_label"], strict=True)
    return "\n".join([line, "class  probability", *(f"{i:5d}  {score:11.4f}  {label}" for i, score, label in top)])


def as_json(path: pathlib.Path, answer: dict[str, Any] | None, error: Exception | None) -> dict[str, Any]:
    """What JSON can hold of an answer, or of the error instead of one: everything but pictures."""
    if answer is None:
        return {"file": str(path), "error": str(error)}
    kept = {name: value for name, value in answer.items() if not name.endswith("_bytes")}
    return {"file": str(path), **{name: np.asarray(value).tolist() for name, value in kept.items()}}


def drawing(contents: bytes, answer: dict[str, Any]) -> bytes | None:
    """A picture with the heatmap of its answer over it, at its own size and upright, as a PNG; None without a heatmap.

    Raises:
        UserError: the picture cannot be decoded here.
    """
    if "overlay_png_bytes" in answer:
        return answer["overlay_png_bytes"]
    if "heatmap" not in answer:
        return None
    # Imported here: it takes as long as all of the rest.
    import cv2

    from cgc_tf.method import overlay

    drawn = overlay.overlay(decoded(contents), answer["heatmap"], tuple(answer["heatmap_box"]))
    return cv2.imencode(".png", drawn[..., ::-1])[1].tobytes()


def decoded(contents: bytes) -> np.ndarray:
    """An encoded picture as the model sees it, uint8 RGB `[H, W, 3]`, upright, and without TensorFlow.

    OpenCV's pixels are TensorFlow's; a JPEG's differ by about one level of 256, since its decoders round differently.

    Raises:
        UserError: it cannot be decoded.
    """
    import cv2

    try:
        kind = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(contents, np.uint8), kind)
    except cv2.error:
        image = None
    if image is None:
        raise UserError("cannot be drawn: OpenCV cannot decode this picture")
    orientation = exif.orientation(exif.number_in(contents))
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image
