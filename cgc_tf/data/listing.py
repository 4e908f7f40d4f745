"""The class folders and files of a user's folder of pictures: which there are, and what is left out and said so."""

import dataclasses
import os
import unicodedata

from cgc_tf.common.errors import UserError, first_few

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


def same_name(name):
    """A name's composed form (NFC): systems differ in how they write an accent, and mean one name."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def list_pictures(root):
    """The class names, sorted, and the `Picture`s of a folder, nothing of them read; prints notes of what is left out.

    Raises:
        UserError: naming the folder or file at fault, and how to fix it.
    """
    _check_name(str(root), "the folder of --data_dir", surrogates_only=True)
    if not root.is_dir():
        raise UserError(f"--data_dir={root}: no such folder; it should hold {LAYOUT}")
    splits = _split_folders(root)
    classes = {split: _class_folders(folder) for split, folder in splits.items()}
    class_names = tuple(sorted(classes["train"]))
    if len(class_names) < 2:
        found = ", ".join(class_names) or "none"
        raise UserError(f"{root}/train needs a folder for each of two or more classes. Received: {found}")
    listed, left_out = [], _LeftOut(root)
    left_out.note_folders([root, *splits.values()], set(splits.values()))
    for split, folders in classes.items():
        for name, folder in sorted(folders.items()):
            if name not in classes["train"]:
                raise UserError(f"{folder}: this class is not in {root}/train; add it there, or remove it here")
            listed += _pictures(folder, f"{splits[split].name}/{name}", split, class_names.index(name), left_out)
    left_out.report()
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
            raise UserError(f"--data_dir={root} has no {split}/ in it; it should hold {LAYOUT}. It holds: {held}")
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


def _pictures(folder, prefix, split, label, left_out):
    seen = set()
    for entry in _entries(folder):
        is_named_so = entry.name.lower().endswith(ENDINGS)
        if entry.name.startswith(".") or is_system(entry.name):
            continue
        if not is_named_so and entry.is_dir():
            left_out.nested.append(entry.path)
        elif not is_named_so:
            left_out.others.append(entry.path)
        else:
            _check_name(entry.name, f"a picture in {folder}")
            name = same_name(entry.name)
            if name in seen:
                raise UserError(f"{folder} has two files named {name}, with accents written in two ways; rename one")
            seen.add(name)
            yield Picture(entry.path, f"{prefix}/{name}", split, label)


class _LeftOut:
    """What is not used, by kind, so that nothing is lost without a word."""

    def __init__(self, root):
        self.root, self.nested, self.others = root, [], []
        self._folders, self._loose = [], []

    def note_folders(self, parents, known):
        """Notes pictures that lie loose in the folders, system folders, and unknown ones beside the splits."""
        for parent in parents:
            for entry in _entries(parent):
                is_beside_splits = parent == self.root and parent / entry.name not in known
                if not entry.is_dir():
                    is_picture = entry.name.lower().endswith(ENDINGS) and not entry.name.startswith(".")
                    self._loose += [entry.path] * is_picture
                elif is_beside_splits or (parent != self.root and is_system(entry.name)):
                    self._folders.append(entry.path)

    def report(self):
        """Prints a line for each kind, with how many there are."""
        if self._loose:
            _note(self._loose, "pictures lie in no class folder and are left out", self.root)
        if self._folders:
            _note(self._folders, "folders are neither splits nor classes and are left out", self.root)
        if self.nested:
            count = sum(_count_pictures(folder) for folder in self.nested)
            _note(self.nested, f"folders within class folders are left out, with {count} pictures in them", self.root)
        if self.others:
            print(f"note: {len(self.others)} files are no {', '.join(ENDINGS)} and left out, as {self.others[0]}")


def _note(paths, text, root):
    names = first_few([ascii(os.path.relpath(path, root))[1:-1] for path in sorted(paths)])
    print(f"note: {len(paths)} {text}: {names}")


def _count_pictures(folder):
    names = [name for _, _, files in os.walk(folder) for name in files]
    return sum(name.lower().endswith(ENDINGS) and not name.startswith(".") for name in names)


def is_system(name):
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
