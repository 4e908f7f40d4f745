"""Where the objects of a folder's pictures are, in whichever form `--objects` has them: the form is found by itself."""

import collections
import pathlib
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures

from cgc_tf.common.errors import UserError, counted, first_few
from cgc_tf.data.folder_listing import MASK_OF, MASKS, Picture, same_name
from cgc_tf.data.objects import boxes_csv, coco, drawn, label_studio, voc, yolo
from cgc_tf.data.objects.drawn import Drawn

BOXES = "boxes.csv"
FORMS = (
    f"{BOXES}, COCO's or Label Studio's .json, or a folder of Pascal VOC's .xml, of YOLO's .txt, or of masks as .png, "
    "named as the pictures"
)
Objects = tuple[dict[str, list], dict[str, list[Drawn]]]


def read(objects: str, root: pathlib.Path, files: list[Picture], class_names: tuple[str, ...]) -> Objects:
    """Reads where objects are.

    Args:
        objects: a file or folder in one of `FORMS`, or a folder with boxes.csv and masks/; "" for those of `root`,
            where there are any.
        root: the folder of the pictures.
        files: its pictures.
        class_names: its classes. An object that is named as another class than its picture's does not count.

    Returns:
        `(boxes, masks)`: {id: [[ymin, xmin, ymax, xmax], ...]}, fractions in [0, 1] of the picture as it is shown; and
        {id: the `Drawn` that have masks}.

    Raises:
        UserError: naming the file and place at fault.
    """
    path = pathlib.Path(objects or root)
    table = path / BOXES if path.is_dir() else path
    is_own = not objects or (table.suffix == ".csv" and table.is_file()) or (path / MASKS).is_dir()
    boxes = boxes_csv.read(table, {picture.id for picture in files}, root) if is_own else {}
    if is_own:
        path = path / MASKS
        if not path.is_dir():
            return boxes, {}
    found = _drawn(path, {picture.path for picture in files})
    return _resolved(found, files, class_names, path, boxes)


def form_of(path: pathlib.Path) -> str:
    """Raises `UserError` unless there is something at `path`; a folder's most telling ending, or a file's own."""
    if path.is_file():
        return path.suffix.lower()
    if not path.is_dir():
        raise UserError(f"--objects={path}: no such file or folder; it should be {FORMS}")
    endings = {
        file.suffix.lower() for file in path.rglob("*") if file.name not in yolo.NAMES and file.name[:1] not in "._"
    }
    return next((ending for ending in (".xml", ".json", ".txt", ".png") if ending in endings), "")


def _drawn(path: pathlib.Path, pictures: set[str]) -> Iterator[Drawn]:
    """The objects of a file or folder that is not ours."""
    ending, root = form_of(path), path if path.is_dir() else path.parent
    files = [path] if path.is_file() else sorted(f for f in path.rglob(f"*{ending}") if f.name[:1] != ".")
    if ending == ".xml":
        for file in files:
            yield from voc.read(file, root)
    elif ending == ".json":
        for file in files:
            contents = drawn.read_json(file)
            if coco.is_coco(contents):
                yield from coco.read(file, contents)
            elif label_studio.is_label_studio(contents):
                yield from label_studio.read(file, contents)
            else:
                raise UserError(f"{file} is neither COCO's nor Label Studio's form; --objects should be {FORMS}")
    elif ending == ".txt":
        yolo.class_names.cache_clear()
        for file in files:
            if file.name not in yolo.NAMES:
                yield from yolo.read(file, root)
    elif ending == ".png":
        for file in files:
            if str(file) not in pictures:
                name = file.relative_to(root).with_suffix("").as_posix()
                yield Drawn(name, None, drawn.size_of(file), "", file, str(file))
    else:
        raise UserError(f"--objects={path} is none of: {FORMS}")


def _resolved(found: Iterable[Drawn], files, class_names, path, boxes) -> Objects:
    """The `Objects` among what was found; `boxes` are those that are known already."""
    of_file, known = _finder(files), {_plain(name): label for label, name in enumerate(class_names)}
    kept, lost, others = collections.defaultdict(list), [], 0
    for each in found:
        picture = of_file(each)
        if picture is None:
            lost.append(each.file)
        elif known.get(_plain(each.label), picture.label) != picture.label:
            others += 1
        else:
            kept[picture].append(each)
    if not kept:
        some = f", such as {first_few(lost, 1)}" if lost else ""
        raise UserError(f"--objects={path} has no objects of the folder's pictures{some}")
    if lost:
        print(f"note: {path} has objects of other pictures than the folder's: {first_few(sorted(set(lost)))}")
    if others:
        print(f"note: {counted(others, 'object')} of {path} left out: of another class than the picture")
    with futures.ThreadPoolExecutor() as pool:
        placed = pool.map(lambda picture: _placed(picture, kept[picture], picture.id in boxes), kept)
        made = {picture.id: of_picture for picture, of_picture in zip(kept, placed, strict=True) if of_picture}
    masks = {p.id: [each for each in of_p if each.mask is not None] for p, of_p in kept.items()}
    return {**made, **boxes}, {name: of_picture for name, of_picture in masks.items() if of_picture}


def _placed(picture: Picture, found: list[Drawn], is_known: bool) -> list[list[float]]:
    """The boxes of a picture, fractions; what of them lies within it. None are made of masks where they are known."""
    boxes, shown = [], (1, 1)
    if any(each.size != (1, 1) for each in found):
        shown = drawn.shape_of(picture)
    for each in found:
        height, width = each.size or shown
        if each.size != (1, 1) and abs(height * shown[1] / (width * shown[0]) - 1) > 0.02:
            raise UserError(
                f"{each.where}: a picture of {width:g} x {height:g} pixels, but {picture.path} is shown as one of "
                f"{shown[1]} x {shown[0]}; draw the objects on the picture as it is shown"
            )
        box = each.box
        if box is None and not is_known:
            box, height, width = drawn.box_of(drawn.pixels(each, *shown)), 1, 1
        if box:
            edges = [min(max(edge / size, 0), 1) for edge, size in zip(box, [height, width] * 2, strict=True)]
            if edges[0] < edges[2] and edges[1] < edges[3]:
                boxes.append(edges)
    return boxes


def _finder(files: list[Picture]) -> Callable[[Drawn], Picture | None]:
    """A function, an object -> its picture: that of its file's name, and of several that of the longest common path."""
    named = collections.defaultdict(list)
    for picture in files:
        name = picture.id.rpartition("/")[2]
        for key in {name, name.rpartition(".")[0]}:
            named[key].append(picture)

    def find(each):
        *folders, name = same_name(each.file).replace("\\", "/").split("/")
        stem = name.rpartition(".")[0] or name
        uploaded = label_studio.UPLOADED.sub("", name)
        mask = MASK_OF.fullmatch(f"{name}.png")
        tried = name, stem, uploaded, uploaded.rpartition(".")[0], mask[1] if mask else ""
        candidates = next((named[key] for key in tried if key in named), [])
        if len(candidates) < 2:
            return next(iter(candidates), None)
        common = [_common_end(folders, picture.id.split("/")[:-1]) for picture in candidates]
        if common.count(max(common)) > 1:
            both = first_few([picture.id for picture in candidates])
            raise UserError(f"{each.where}: {each.file} may be any of {both}; name it with its folder")
        return candidates[common.index(max(common))]

    return find


def _common_end(first, second):
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        count += 1
    return count


def _plain(name):
    return re.sub(r"[\s_-]+", " ", name).strip().lower()
