"""Label Studio's JSON, as exported: rectangles, turned ones too, and polygons, in percent of the picture.

https://labelstud.io/guide/export and https://labelstud.io/tags/rectanglelabels
"""

import math
import pathlib
import re
from collections.abc import Iterator
from urllib import parse

from cgc_tf.common.errors import UserError
from cgc_tf.data.objects.drawn import Drawn

UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what it puts in front of the name of a file that was uploaded


def is_label_studio(contents: object) -> bool:
    """Whether what a JSON file holds is Label Studio's form."""
    return isinstance(contents, list) and bool(contents) and all(isinstance(t, dict) and "data" in t for t in contents)


def read(path: pathlib.Path, contents: list) -> Iterator[Drawn]:
    """The objects of a file: of each task the annotation that is the ground truth, or else the last one.

    Raises:
        UserError: naming the task at fault.
    """
    for place, task in enumerate(contents):
        where = f"{path}, task {task.get('id', place)}"
        try:
            done = [a for a in task.get("annotations", ()) if not a.get("was_cancelled")]
            chosen = ([a for a in done if a.get("ground_truth")] or done)[-1:]
            for region in (region for annotation in chosen for region in annotation["result"]):
                if "original_width" in region and isinstance(region.get("value"), dict):
                    yield _drawn(_picture(task["data"], region), region, where)
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"{where}: this is not Label Studio's form: {type(error).__name__} {error}") from error


def _picture(data, region):
    """The path of a picture within a task's data."""
    texts = [data[key] for key in (region.get("to_name"), "image", "img") if isinstance(data.get(key), str)]
    texts += [value for value in data.values() if isinstance(value, str)]
    url = parse.urlsplit(texts[0])
    local = parse.parse_qs(url.query).get("d")  # /data/local-files/?d=folder/cat.jpg
    return local[0] if local else parse.unquote(url.path)


def _drawn(file, region, where):
    value, kind = region["value"], region["type"]
    size = height, width = float(region["original_height"]), float(region["original_width"])
    label = next(iter(value.get(kind) or ()), "") if kind.endswith("labels") else ""
    if region.get("image_rotation"):
        raise UserError(f"{where}: the picture was turned in Label Studio; turn the file instead")
    if kind.startswith("rectangle"):
        left, top, across, down = (value[name] / 100 for name in ("x", "y", "width", "height"))
        turned = math.radians(value.get("rotation", 0))  # clockwise, around the top left corner
        cos, sin = math.cos(turned), math.sin(turned)
        offsets = [(x, y) for x in (0, across * width) for y in (0, down * height)]
        corners = [(left * width + x * cos - y * sin, top * height + x * sin + y * cos) for x, y in offsets]
    elif kind.startswith("polygon"):
        corners = [(x / 100 * width, y / 100 * height) for x, y in value["points"]]
    else:
        raise UserError(f"{where}: {kind} is not read from Label Studio's JSON: export it as COCO, or as PNG")
    xs, ys = zip(*corners, strict=True)
    mask = [[x for corner in corners for x in corner]] if kind.startswith("polygon") else None
    return Drawn(file, (min(ys), min(xs), max(ys), max(xs)), size, label, mask, where)
