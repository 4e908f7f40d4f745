"""What an exported version says of its model, in files that are read without loading it."""

import collections
import json
import pathlib

from cgc_tf.common import files
from cgc_tf.common.errors import UserError, first_line

CARD = "assets.extra/model_card.json"
LABELS = "assets/labels.txt"
RECORD = "assets.extra/splits.csv"  # of its run: which pictures it was trained on


def versions(folder: files.PathLike) -> dict[int, pathlib.Path]:
    """{number: path} of the versions in a model's folder; what is not a whole version is not listed."""
    found = pathlib.Path(folder).glob("*/saved_model.pb")
    return {int(path.parent.name): path.parent for path in found if path.parent.name.isdecimal()}


def version_of(path):
    """A version's folder: `path` itself where it holds saved_model.pb, else the highest number in it.

    Raises:
        UserError: there is none.
    """
    path = pathlib.Path(path).absolute()
    if (path / "saved_model.pb").exists():
        return path
    found = versions(path)
    if not found:
        raise UserError(f"--saved_model={path} holds no SavedModel: no saved_model.pb, and no numbered folder with one")
    return found[max(found)]


def read(version):
    """A version's model card, a dict; None where it has none.

    Raises:
        UserError: there is one that cannot be read.
    """
    path = pathlib.Path(version) / CARD
    try:
        card = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error
    if not isinstance(card, dict):
        raise UserError(f"{path} is not a model card: it holds {type(card).__name__}, not a JSON object")
    return card


def trained_on(version):
    """The settings that a version was trained with, a dict, and its `RECORD`'s path as `record`; {} without a card."""
    record = pathlib.Path(version) / RECORD
    known = (read(version) or {}).get("configuration") or {}
    return {**known, "record": str(record) if record.exists() else ""} if known else {}


def read_labels(path):
    """The names that a file of labels lists, one a line in the order of a model's outputs: a tuple; None without one.

    Raises:
        UserError: the file cannot be read, or names a class twice.
    """
    if not pathlib.Path(path).exists():
        return None
    try:
        names = pathlib.Path(path).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {first_line(error)}") from error
    name, count = collections.Counter(names).most_common(1)[0]
    if count > 1:
        raise UserError(f"{path} names a class twice: {name!r}")
    return tuple(names)
