"""The class folders and files of a user's folder of pictures: which are used, and a note of everything that is not."""

import os
import pathlib
import re
import unicodedata
from dataclasses import dataclass, replace

from cgc_tf.common.errors import UserError, counted, first_few
from cgc_tf.data import splits as dividing
from cgc_tf.data.splits import Splits

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
LAYOUT = "DIR/{train,test}/<class>/*.jpg"
MASKS = "masks"  # a folder of the objects' masks, where there are no pictures directly in it
MASK_OF = re.compile(r"(.+?)[-_.]?(?:mask|segmentation|seg)\.png", re.IGNORECASE)  # beside the picture of that stem
WHOLE = Splits()
SYSTEM = {  # folders that systems and tools put among others, hidden ones aside
    "__macosx", "__pycache__", "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot",
    "$recycle.bin", "recycler", "system volume information", "lost+found", "found.000",
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """One file: its path, its path within the folder (`id`), split, label and orientation (`exif`; 1 is upright)."""

    path: str
    id: str
    split: str
    label: int
    orientation: int = 1


def same_name(name: str) -> str:
    """A name's composed form (NFC): systems differ in how they write an accent, and mean one name."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def list_pictures(
    root: pathlib.Path, splits: Splits = WHOLE, record: pathlib.Path | None = None
) -> tuple[tuple[str, ...], list[Picture]]:
    """The class names, sorted, and the `Picture`s of a folder, none of them read; prints notes of what is not used.

    Class folders lie in folders of splits, or in `root` itself. Where there is no folder of the test or the validation
    split, `splits` says which share of the pictures to train on is taken for it, unless a `record` says which pictures.

    Raises:
        UserError: naming the folder or file at fault, and how to fix it.
    """
    _check_name(str(root), "the folder of --data_dir", surrogates_only=True)
    if not root.is_dir():
        raise UserError(f"--data_dir={root}: no such folder; it should contain {LAYOUT}")
    folders = _split_folders(root)
    classes = {split: _class_folders(folder) for split, folder in folders.items()}
    if not folders:
        found = _class_folders(root).items()
        classes["train"] = {name: folder for name, folder in found if any(map(is_picture, os.listdir(folder)))}
    _check_layout(root, folders, classes, splits)
    class_names = sorted(classes.get("train") or classes["test"])
    listed, not_used = [], _not_used(root, folders, classes)
    for split, of_split in classes.items():
        prefix = f"{folders[split].name}/" if folders else ""
        for name, folder in sorted(of_split.items()):
            if name not in class_names:
                raise UserError(f"{folder}: this class is not in {root}/train; add it there, or remove it here")
            listed += _pictures(folder, f"{prefix}{name}", split, class_names.index(name), not_used)
    _report(not_used, root)
    if splits.is_used and record:
        places = dividing.kept([picture.id for picture in listed], record, root)
        used = sorted({picture.label for picture in listed if picture.id in places})
        listed = [replace(p, split=places[p.id], label=used.index(p.label)) for p in listed if p.id in places]
        class_names = [class_names[label] for label in used]
    elif splits.is_used:
        pool = {picture.id: class_names[picture.label] for picture in listed if picture.split == "train"}
        places = dividing.divide(pool, splits)
        listed = [replace(picture, split=places.get(picture.id, picture.split)) for picture in listed]
    return tuple(class_names), listed


def holds_pictures(root: pathlib.Path) -> bool:
    """Whether there are pictures in class folders, in those of splits or in `root` itself."""
    if not root.is_dir():
        return False
    places = (root, *_split_folders(root).values())
    folders = (folder for place in places for folder in _class_folders(place).values())
    return any(is_picture(entry.name) for folder in folders for entry in os.scandir(folder))


def _split_folders(root):
    """{split: its folder}, of those that are there; `validation` may be called otherwise."""
    present = [entry.name for entry in _entries(root) if entry.is_dir()]
    found = {}
    for split, names in SPLITS.items():
        folders = [name for name in names if name in present]
        if len(folders) > 1:
            both = " and ".join(f"{name}/" for name in folders)
            raise UserError(f"--data_dir={root} has {both}, which mean the same split; keep one of them")
        if folders:
            found[split] = root / folders[0]
    return found


def _check_layout(root, folders, classes, splits):
    """Raises `UserError` unless there is a test split and it is clear which, and two classes."""
    for split, share in (("test", splits.test_fraction), ("validation", splits.validation_fraction)):
        if split in folders and share:
            raise UserError(f"--{split}_fraction={share} is not used: {folders[split]} is the {split} split")
    held = first_few(sorted(e.name for e in _entries(root) if e.is_dir() and not is_system(e.name))) or "no folder"
    if not folders and len(classes["train"]) < 2:
        inside = [entry.name for entry in _entries(root) if entry.is_dir() and _split_folders(root / entry.name)]
        hint = f"; did you mean --data_dir={root / inside[0]}?" if inside else ""
        raise UserError(
            f"--data_dir={root} has neither train/ in it nor folders of two or more classes; it should contain "
            f"{LAYOUT}, or DIR/<class>/*.jpg. It contains: {held}{hint}"
        )
    if "test" not in folders and not splits.test_fraction:
        has = "class folders" if not folders else " and ".join(f"{folder.name}/" for folder in folders.values())
        raise UserError(
            f"--data_dir={root} has {has}, but no test/: say which share of its pictures to test on, as in "
            f"--test_fraction=0.2{'' if 'validation' in folders else ' --validation_fraction=0.1'}, or sort them into "
            f"{LAYOUT}. It contains: {held}"
        )
    if folders and "train" not in folders and splits.is_used:
        raise UserError(f"--data_dir={root} has no train/ in it to take a share from. It contains: {held}")
    if len(names := sorted(classes.get("train", classes.get("test")))) < 2:
        folder = folders.get("train", folders.get("test"))
        found = ", ".join(names) or "none"
        raise UserError(f"{folder} needs a folder for each of two or more classes. Received: {found}")


def _class_folders(folder):
    """{class's name: its folder} of one split."""
    found = {}
    for entry in _entries(folder):
        if entry.is_dir() and not is_system(entry.name) and not _is_masks(entry):
            _check_name(entry.name, f"a class folder in {folder}")
            name = same_name(entry.name)
            if name in found:
                raise UserError(f"{folder} has two folders named {name}, with accents written in two ways; join them")
            found[name] = folder / entry.name
    return found


def _pictures(folder, prefix, split, label, not_used):
    """The `Picture`s of one class in one split; what else is in its folder goes into `not_used`."""
    seen, stems = set(), {pathlib.PurePath(name).stem for name in os.listdir(folder)}
    for entry in _entries(folder):
        if is_system(entry.name):
            continue
        if (mask := MASK_OF.fullmatch(entry.name)) and mask[1] in stems:
            not_used["masks"].append(entry.path)
            continue
        if entry.name.lower().endswith(ENDINGS):
            _check_name(entry.name, f"a picture in {folder}")
            name = same_name(entry.name)
            if name in seen:
                raise UserError(f"{folder} has two files named {name}, with accents written in two ways; rename one")
            seen.add(name)
            yield Picture(entry.path, f"{prefix}/{name}", split, label)
        elif entry.is_dir():
            not_used["nested folders"].append(entry.path)
        else:
            not_used["other files"].append(entry.path)


def _not_used(root, folders, classes):
    """{kind: paths} of what lies outside of the class folders, and room for what is in them and not used either."""
    used = {str(folder) for of_split in (folders, *classes.values()) for folder in of_split.values()}
    loose, unused = [], []
    for parent in (root, *folders.values()):
        for entry in _entries(parent):
            if entry.is_dir():
                if entry.path not in used and not _is_masks(entry):
                    unused.append(entry.path)
            elif is_picture(entry.name):
                loose.append(entry.path)
    return {"loose pictures": loose, "folders": unused, "nested folders": [], "masks": [], "other files": []}


def _is_masks(entry):
    """Whether a folder holds masks: it is named so, and has no pictures directly in it, as a class would."""
    return entry.name == MASKS and not any(map(is_picture, os.listdir(entry.path)))


def _report(not_used, root):
    """Prints a note for each kind of what is not used, so that nothing is lost without a word."""
    inside = counted(sum(map(_count_pictures, not_used["nested folders"])), "picture")
    for kind, noun, where in (
        ("loose pictures", "picture", "outside of the class folders"),
        ("folders", "folder", "outside of the splits and classes"),
        ("nested folders", "folder", f"inside class folders, with {inside}"),
        ("masks", "file", f"beside pictures, as masks of theirs; --objects={root} reads them"),
        ("other files", "file", f"with endings other than {', '.join(ENDINGS)}"),
    ):
        if paths := sorted(not_used[kind]):
            names = first_few([ascii(os.path.relpath(path, root))[1:-1] for path in paths])
            print(f"note: not used: {counted(len(paths), noun)} {where}: {names}")


def _count_pictures(folder):
    return sum(is_picture(name) for _, _, files in os.walk(folder) for name in files)


def is_picture(name: str) -> bool:
    """Whether a file has the name of a picture that is not hidden."""
    return name.lower().endswith(ENDINGS) and not name.startswith(".")


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems put among a user's own."""
    return name.startswith(".") or name.lower() in SYSTEM


def _entries(folder):
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(f"{folder} cannot be listed: {error.strerror}") from error


def _check_name(name, what, surrogates_only=False):
    """Names go into text files, a line each: what would end a line, or is no text, is refused."""
    if name.isascii() and name.isprintable():
        return
    refused = ("Cs",) if surrogates_only else ("Cs", "Cc", "Zl", "Zp")
    if any(unicodedata.category(character) in refused for character in name):
        raise UserError(
            f"{what} has a name that a line of text cannot hold (not UTF-8, or a line break or control character "
            f"in it): {name!a}; rename it"
        )
