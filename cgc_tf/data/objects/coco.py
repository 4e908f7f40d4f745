"""COCO's JSON of object detection: boxes, polygons, and both forms of its run-length encoding.

https://cocodataset.org/#format-data
"""

import pathlib
from collections.abc import Iterator

from cgc_tf.common.errors import UserError
from cgc_tf.data.objects.drawn import Drawn


def is_coco(contents: object) -> bool:
    """Whether what a JSON file holds is COCO's form."""
    return isinstance(contents, dict) and {"images", "annotations"} <= contents.keys()


def read(path: pathlib.Path, contents: dict) -> Iterator[Drawn]:
    """The objects of a file; `bbox` is left, top, width, height in pixels, measured from the corner of the picture.

    Raises:
        UserError: naming the annotation at fault.
    """
    names = {category["id"]: category["name"] for category in contents.get("categories", ())}
    images = {image["id"]: image for image in contents["images"]}
    for place, annotation in enumerate(contents["annotations"]):
        where = f"{path}, annotation {annotation.get('id', place)}"
        try:
            image = images[annotation["image_id"]]
            size = (image["height"], image["width"]) if image.get("height") and image.get("width") else None
            mask = annotation.get("segmentation") or None
            if not isinstance(mask, dict | None):
                mask = [list(map(float, polygon)) for polygon in mask if len(polygon) >= 6] or None
            box = None
            if annotation.get("bbox"):
                left, top, width, height = map(float, annotation["bbox"])
                box = top, left, top + height, left + width
            if box or mask:
                yield Drawn(image["file_name"], box, size, names.get(annotation.get("category_id"), ""), mask, where)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{where}: this is not COCO's form: {type(error).__name__} {error}") from error
