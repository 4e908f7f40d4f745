"""The class folders and files of a user's folder of pictures: which are used, and a note of everything that is not."""

import dataclasses
import os
import pathlib
import unicodedata

from cgc_tf.common.errors import UserError, counted, first_few

ENDINGS = (".jpg", ".jpeg", ".png")
SPLITS = {"train": ("train",), "validation": ("validation", "val", "valid"), "test": ("test",)}
LAYOUT = "DIR/{train,test}/<class>/*.{jpg,jpeg,png}"
SYSTEM = {  # folders that systems and tools put among others, hidden ones aside
    "__macosx", "__pycache__", "@eadir", "@recycle", "@recently-snapshot", "@tmp", "#recycle", "#snapshot",
    "$recycle.bin", "recycler", "system volume information", "lost+found", "found.000",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
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


def list_pictures(root: pathlib.Path) -> tuple[tuple[str, ...], list[Picture]]:
    """The class names, sorted, and the `Picture`s of a folder, none of them read; prints notes of what is not used.

    Raises:
        UserError: naming the folder or file at fault, and how to fix it.
    """
    _check_name(str(root), "the folder of --data_dir", surrogates_only=True)
    if not root.is_dir():
        raise UserError(f"--data_dir={root}: no such folder; it should contain {LAYOUT}")
    splits = _split_folders(root)
    classes = {split: _class_folders(folder) for split, folder in splits.items()}
    class_names = tuple(sorted(classes["train"]))
    if len(class_names) < 2:
        found = ", ".join(class_names) or "none"
        raise UserError(f"{root}/train needs a folder for each of two or more classes. Received: {found}")
    listed, not_used = [], _not_used(root, splits.values())
    for split, folders in classes.items():
        for name, folder in sorted(folders.items()):
            if name not in classes["train"]:
                raise UserError(f"{folder}: this class is not in {root}/train; add it there, or remove it here")
            listed += _pictures(folder, f"{splits[split].name}/{name}", split, class_names.index(name), not_used)
    _report(not_used, root)
    return class_names, listed


def _split_folders(root):
    """{split: its folder}; `validation` may be called otherwise."""
    present = [entry.name for entry in _entries(root) if entry.is_dir()]
    found = {}
    for split, names in SPLITS.items():
        folders = [name for name in names if name in present]
        if len(folders) > 1:
            both = " and ".join(f"{name}/" for name in folders)
            raise UserError(f"--data_dir={root} has {both}, which mean the same split; keep one of them")
        if not folders and split != "validation":
            held = first_few(sorted(name for name in present if not is_system(name))) or "no folder"
            raise UserError(f"--data_dir={root} has no {split}/ in it; it should contain {LAYOUT}. It contains: {held}")
        if folders:
            found[split] = root / folders[0]
    return found


def _class_folders(folder):
    """{class's name: its folder} of one split."""
    found = {}
    for entry in _entries(folder):
        if entry.is_dir() and not is_system(entry.name):
            _check_name(entry.name, f"a class folder in {folder}")
            name = same_name(entry.name)
            if name in found:
                raise UserError(f"{folder} has two folders named {name}, with accents written in two ways; join them")
            found[name] = folder / entry.name
    return found


def _pictures(folder, prefix, split, label, not_used):
    """The `Picture`s of one class in one split; what else is in its folder goes into `not_used`."""
    seen = set()
    for entry in _entries(folder):
        if is_system(entry.name):
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


def _not_used(root, splits):
    """{kind: paths} of what lies outside of the class folders, and room for what is in them and not used either."""
    loose, folders = [], []
    for parent in (root, *splits):
        for entry in _entries(parent):
            if entry.is_dir():
                is_used = parent / entry.name in splits if parent == root else not is_system(entry.name)
                if not is_used:
                    folders.append(entry.path)
            elif is_picture(entry.name):
                loose.append(entry.path)
    return {"loose pictures": loose, "folders": folders, "nested folders": [], "other files": []}


def _report(not_used, root):
    """Prints a note for each kind of what is not used, so that nothing is lost without a word."""
    inside = counted(sum(map(_count_pictures, not_used["nested folders"])), "picture")
    for kind, noun, where in (
        ("loose pictures", "picture", "outside of the class folders"),
        ("folders", "folder", "outside of the splits and classes"),
        ("nested folders", "folder", f"inside class folders, with {inside}"),
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
