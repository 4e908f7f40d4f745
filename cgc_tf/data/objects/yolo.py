"""YOLO's text, a file a picture: a class's number, then the box's center and size or a polygon, in fractions.

https://docs.ultralytics.com/datasets/detect/ and https://docs.ultralytics.com/datasets/segment/
"""

import functools
import pathlib
from collections.abc import Iterator

import yaml

from cgc_tf.common.errors import UserError, first_line
from cgc_tf.data.objects.drawn import Drawn

NAMES = ("classes.txt", "obj.names", "data.yaml", "dataset.yaml")


@functools.cache
def class_names(folder: pathlib.Path, root: pathlib.Path) -> dict[int, str]:
    """{number: name} as a file of `NAMES` in a folder, or the nearest above it, has them; {} where there is none.

    It is looked for up to the folder above `root`, which is that of all files.

    Raises:
        UserError: it cannot be read.
    """
    for path in (folder / name for name in NAMES):
        try:
            if path.is_file():
                text = path.read_text("utf-8-sig")
                names = yaml.safe_load(text)["names"] if path.suffix == ".yaml" else text.split("\n")
                pairs = names.items() if isinstance(names, dict) else enumerate(names)
                return {int(number): str(name).strip() for number, name in pairs}
        except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
            raise UserError(f"{path} does not name classes: {first_line(error)}") from error
    return {} if folder == root.parent else class_names(folder.parent, root)


def read(path: pathlib.Path, root: pathlib.Path) -> Iterator[Drawn]:
    """The objects of one file; `root` is the folder of all of them.

    Raises:
        UserError: naming the line at fault.
    """
    names = class_names(path.parent, root)
    file = path.relative_to(root).with_suffix("").as_posix()
    try:
        lines = path.read_text("utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error
    for number, line in enumerate(lines, 1):
        where = f"{path}, line {number}"
        try:
            label, *values = map(float, line.split() or ["-1"])
        except ValueError:
            raise UserError(f"{where}: these should be numbers. Received: {line[:100]}") from None
        name = names.get(int(label), "")
        if len(values) in (4, 5):  # a fifth is how sure a detector was
            x, y, width, height = values[:4]
            box = y - height / 2, x - width / 2, y + height / 2, x + width / 2
            yield Drawn(file, box, (1, 1), name, None, where)
        elif len(values) >= 6 and len(values) % 2 == 0:
            box = min(values[1::2]), min(values[::2]), max(values[1::2]), max(values[::2])
            yield Drawn(file, box, (1, 1), name, [values], where)
        elif values:
            raise UserError(
                f"{where}: a class, then a box of 4 numbers or a polygon of 6 or more. Received: {line[:99]}"
            )
