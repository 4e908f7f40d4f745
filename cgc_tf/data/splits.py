"""Which pictures of a folder to train, validate and test on, where its folders do not say all of that; and a record.

A picture's place in the order from which each class's share is taken depends on `--split_seed` and its name alone, so
every run sees the same splits, whatever its `--seed`. A run keeps them in `splits.csv`, and they hold for all that is
done with it, although the folder may have gained pictures since.
"""

import collections
import csv
import dataclasses
import hashlib
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cgc_tf.common import files, settings
from cgc_tf.common.errors import UserError, counted, first_few
from cgc_tf.common.settings import NEVER, setting

RECORD = "splits.csv"
COLUMNS = ["file", "split", "bytes"]


@dataclasses.dataclass(frozen=True)
class Splits:
    """How a folder's pictures are divided; each is a flag.

    Raises:
        UserError: for a setting out of its bounds.
    """

    test_fraction: float = setting(
        0.0, "The share of each class to test on, for a folder without test/.", least=0, most=1, on_change=NEVER
    )
    validation_fraction: float = setting(
        0.0, "The share of each class to validate on, for a folder without val/.", least=0, below=1, on_change=NEVER
    )
    split_groups: str = setting(
        "",
        "Of these shares: pictures in whose file names this regular expression finds the same text (in its first "
        "group, if it has one) stay together, as those of one animal should.",
        on_change=NEVER,
    )
    split_seed: int = setting(
        0,
        "Of these shares: decides which pictures they are, apart from --seed, so that runs of all seeds share a test.",
        least=0,
        on_change=NEVER,
    )

    def __post_init__(self):
        settings.check_bounds(self)
        if self.test_fraction + self.validation_fraction > 1:
            raise UserError(
                f"--test_fraction={self.test_fraction} and --validation_fraction={self.validation_fraction} are more "
                "than there is"
            )
        if not self.is_used and (self.split_groups or self.split_seed):
            name = "split_groups" if self.split_groups else "split_seed"
            raise UserError(f"--{name} is not used without --test_fraction or --validation_fraction: leave it out")
        try:
            re.compile(self.split_groups)
        except re.error as error:
            raise UserError(f"--split_groups={self.split_groups} is not a regular expression: {error}") from None

    @property
    def is_used(self) -> bool:
        """Whether anything is divided."""
        return self.test_fraction > 0 or self.validation_fraction > 0

    @staticmethod
    def of(known: Mapping[str, Any]) -> "Splits":
        """The `Splits` among settings, {name: value}, of which some may be missing."""
        names = [field.name for field in dataclasses.fields(Splits)]
        return Splits(**{name: known[name] for name in names if name in known})


def divide(classes: Mapping[str, str], splits: Splits) -> dict[str, str]:
    """Divides pictures: {id: class} -> {id: split}.

    Of each class come the shares that `splits` asks for, rounded, but one picture at least, and one to train on; groups
    stay together, so that shares are met as nearly as they allow. Classes that are too small for that are noted.

    Raises:
        UserError: --split_groups finds nothing in any file's name.
    """
    if splits.test_fraction == 1:
        return dict.fromkeys(classes, "test")
    members = collections.defaultdict(list)
    for name, unit in _units(classes, splits.split_groups).items():
        members[unit].append(name)
    order = sorted(members, key=lambda unit: hashlib.sha256(f"{splits.split_seed} {unit}".encode()).digest())
    sizes = {unit: collections.Counter(classes[name] for name in members[unit]) for unit in order}
    shares = {"test": splits.test_fraction, "validation": splits.validation_fraction}
    left, found = collections.Counter(classes.values()), dict.fromkeys(order, "train")  # left to train on
    for split, share in shares.items():
        totals = collections.Counter(classes.values())
        wanted = {name: max(1, round(share * count)) if share else 0 for name, count in totals.items()}
        taken = collections.Counter()
        # Once for what comes nearer to the shares, then again for classes that large groups have left without any.
        for is_last, unit in [(False, unit) for unit in order] + [(True, unit) for unit in order]:
            size = sizes[unit]
            if found[unit] != "train" or any(left[name] - count < 1 for name, count in size.items()):
                continue
            missing = {name: wanted[name] - taken[name] for name in size}
            is_nearer = sum(abs(missing[n] - size[n]) for n in size) <= sum(map(abs, missing.values()))
            is_needed = is_last and any(wanted[name] and not taken[name] for name in size)
            if any(count > 0 for count in missing.values()) and (is_nearer or is_needed):
                found[unit] = split
                taken += size
                left -= size
        if lacking := sorted(name for name in wanted if wanted[name] and not taken[name]):
            print(f"note: too few pictures for one of the {split} split: {first_few(lacking)}")
    return {name: found[unit] for unit in order for name in members[unit]}


def _units(names, groups):
    """{id: what it stays together with}."""
    if not groups:
        return {name: name for name in names}
    pattern, units = re.compile(groups), {}
    for name in names:
        match = pattern.search(name.rpartition("/")[2])
        units[name] = match and match[1 if pattern.groups else 0]
    alone = [name for name, unit in units.items() if not unit]
    if len(alone) == len(units):
        raise UserError(f"--split_groups={groups} finds nothing in any file's name, such as {first_few(alone, 1)}")
    if alone:
        print(f"note: --split_groups={groups} finds nothing in {counted(len(alone), 'name')}: {first_few(alone)}")
    return {name: f"group {unit}" if unit else name for name, unit in units.items()}


def write(path: files.PathLike, listing: Iterable[tuple[str, str, int]]) -> None:
    """Writes a record: of each picture its id, its split, and its size in bytes."""
    with files.whole(path) as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(COLUMNS)
        rows.writerows(listing)


def read(path: files.PathLike) -> dict[str, tuple[str, int]]:
    """{id: (split, bytes)} of a record; raises `UserError` where it cannot be read."""
    try:
        with pathlib.Path(path).open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file, strict=True)
        if header != COLUMNS:
            raise ValueError(f"the first line should be {','.join(COLUMNS)}")
        return {name: (split, int(size)) for name, split, size in rows}
    except (OSError, ValueError, csv.Error) as error:
        raise UserError(f"{path} cannot be read: {error}") from error


def kept(names: Iterable[str], record: files.PathLike, root: pathlib.Path) -> dict[str, str]:
    """{id: split} as a record has it, of those ids that it has; a note says which it does not have.

    Raises:
        UserError: pictures that it lists are not there.
    """
    recorded, names = read(record), list(names)
    if gone := sorted(set(recorded) - set(names)):
        raise UserError(
            f"{len(gone)} of the {len(recorded)} pictures that {record} lists are not in {root}: {first_few(gone)}; "
            "put them back"
        )
    if added := [name for name in names if name not in recorded]:
        print(f"note: not used: {counted(len(added), 'picture')} that {record} does not list: {first_few(added)}")
    return {name: recorded[name][0] for name in names if name in recorded}


def seen_in_training(record: files.PathLike, listing: Iterable[tuple[str, str, int]], split: str) -> int:
    """How many pictures of a listing's split a record has among those to train on, of the same name and size."""
    recorded = read(record)
    return sum(of == split and recorded.get(name) == ("train", size) for name, of, size in listing)


def is_of(record: files.PathLike, root: files.PathLike) -> bool:
    """Whether a folder has every picture that a record lists, in its size: the folder itself, or a copy of it."""
    try:
        listed = read(record)
        return all(pathlib.Path(root, name).stat().st_size == size for name, (_, size) in listed.items())
    except OSError:
        return False
