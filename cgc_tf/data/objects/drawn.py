"""An object as a tool's file has it, before its picture is found; and masks, drawn when they are asked for."""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from cgc_tf.common.errors import UserError, first_line
from cgc_tf.data.folder_listing import Picture


@dataclasses.dataclass(frozen=True)
class Drawn:
    """One object.

    Attributes:
        file: its picture, as the tool calls it: a name, or a path, with or without an ending.
        box: ymin, xmin, ymax, xmax, in the units of `size`; None where the mask says it.
        size: the picture's height and width; 1, 1 where a box is in fractions; None for those of the file itself.
        label: its class, "" where nobody says it.
        mask: where its pixels are: polygons `[x, y, x, y, ...]` in the units of `size`, COCO's run-length encoding, a
            dict, or the path of a file; None where only the box is known.
        where: which place of which file says so.
    """

    file: str
    box: tuple[float, float, float, float] | None
    size: tuple[float, float] | None
    label: str = ""
    mask: Any = None
    where: str = ""


def pixels(drawn: Drawn, height: int, width: int) -> np.ndarray:
    """Where an object is, by its mask, in a picture: uint8 `[height, width]`, 1 on the object.

    Raises:
        UserError: a file of a mask cannot be read.
    """
    if isinstance(drawn.mask, pathlib.Path):
        found = read_png(drawn.mask)
    else:
        from pycocotools import mask as coco  # imported here, since few need it

        encoded = drawn.mask
        if isinstance(encoded, list):
            scale = [width / drawn.size[1], height / drawn.size[0]] if drawn.size else [1, 1]
            scaled: Any = [(np.reshape(polygon, [-1, 2]) * scale).ravel().tolist() for polygon in encoded]
            encoded = coco.merge(coco.frPyObjects(scaled, height, width))
        elif isinstance(encoded["counts"], list):
            encoded = coco.frPyObjects(encoded, *encoded["size"])
        found = coco.decode(encoded)
    if found.shape != (height, width):
        found = np.asarray(Image.fromarray(found).resize((width, height), Image.Resampling.NEAREST))
    return found


def shape_of(picture: Picture) -> tuple[int, int]:
    """Height and width of a picture as it is shown."""
    with Image.open(picture.path) as image:
        width, height = image.size
    return (width, height) if picture.orientation >= 5 else (height, width)


def mask_of(found: list[Drawn], height: int, width: int) -> np.ndarray:
    """Where a picture's objects are: uint8 `[height, width]`, 1 on any of them; zeros where there are none."""
    mask = np.zeros([height, width], np.uint8)
    for each in found:
        np.maximum(mask, pixels(each, height, width), out=mask)
    return mask


def size_of(path: pathlib.Path) -> tuple[int, int]:
    """Height and width of a file of a mask; raises `UserError` where it is none."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path} cannot be read as a mask: {first_line(error)}") from error


def read_png(path: pathlib.Path) -> np.ndarray:
    """A mask in a file: uint8 `[H, W]`, 1 where a pixel is not 0, and, of a palette, not Pascal VOC's void, 255."""
    try:
        with Image.open(path) as image:
            if image.mode == "P":
                index = np.asarray(image)
                return ((index > 0) & (index < 255)).astype(np.uint8)
            gray = image.getchannel("A") if image.mode in ("RGBA", "LA") and not _has_color(image) else image
            values = np.asarray(gray)
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path} cannot be read as a mask: {first_line(error)}") from error
    return np.asarray(values[..., :3].max(-1) if values.ndim == 3 else values).astype(bool).astype(np.uint8)


def _has_color(image):
    return any(most > 0 for _, most in image.convert("RGB").getextrema())


def box_of(mask: np.ndarray) -> tuple[float, float, float, float] | None:
    """The box around a mask `[H, W]`, fractions; None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    height, width = mask.shape
    return rows[0] / height, columns[0] / width, (rows[-1] + 1) / height, (columns[-1] + 1) / width


def read_json(path: pathlib.Path) -> Any:
    """What a JSON file holds; raises `UserError` where it cannot be read."""
    try:
        return json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read as JSON: {first_line(error)}") from error
