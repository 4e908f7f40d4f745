"""Pascal VOC's XML, a file a picture.

In its development kit, http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/, pixels are counted from 1, and a box
holds its last row and column. labelImg writes edges counted from 0 instead: its boxes become one pixel larger here.
"""

import pathlib
from collections.abc import Iterator
from xml.etree import ElementTree

from cgc_tf.common.errors import UserError
from cgc_tf.data.objects.drawn import Drawn


def read(path: pathlib.Path, root: pathlib.Path) -> Iterator[Drawn]:
    """The objects of one file; `root` is the folder of all of them.

    Raises:
        UserError: naming the file at fault.
    """
    try:
        tree = ElementTree.parse(path).getroot()
        if tree.tag != "annotation":
            raise ValueError(f"it begins with <{tree.tag}>, not <annotation>")
        height, width = (float(tree.findtext(f"size/{name}") or 0) for name in ("height", "width"))
        size = (height, width) if height and width else None
        name = tree.findtext("filename") or path.stem
        file = path.relative_to(root).with_name(pathlib.PurePath(name).name).as_posix()
        for thing in tree.iter("object"):
            ymin, xmin, ymax, xmax = (
                float(thing.findtext(f"bndbox/{edge}") or "") for edge in ("ymin", "xmin", "ymax", "xmax")
            )
            yield Drawn(file, (ymin - 1, xmin - 1, ymax, xmax), size, thing.findtext("name") or "", None, str(path))
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise UserError(f"{path} is not Pascal VOC's form: {error}") from error
