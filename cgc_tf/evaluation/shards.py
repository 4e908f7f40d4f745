"""An evaluation in parts, by several processes: each measures its share of the images, and one joins what they found.

Shares begin where a process that measures all of them begins a group of negatives, a batch, and a choice of images of
one size. So the numbers are the same, in every bit where the machines compute alike.
"""

import dataclasses
import json
import math
import pathlib
import re
from typing import Any

import numpy as np

from cgc_tf.common import files
from cgc_tf.common.errors import UserError, first_few
from cgc_tf.data import batches
from cgc_tf.data.source import Source
from cgc_tf.evaluation.consistency import GROUP
from cgc_tf.evaluation.evaluated_models import EvaluatedModel
from cgc_tf.evaluation.measure import measure, with_rest
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import results
from cgc_tf.report.results import Measurement

JOIN = "join"
PART = re.compile(r"(\d+)/([1-9]\d*)", re.ASCII)
KINDS = ("columns", "curves")
HOW = "i/n, the part i of n from 0 on, or join"


@dataclasses.dataclass(frozen=True)
class Shard:
    """A part of an evaluation's images.

    Attributes:
        index: which part, from 0 on.
        of: how many there are.
    """

    index: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """The part that "i/n" says; raises `UserError` where it says none."""
        found = PART.fullmatch(text)
        if not found or int(found[1]) >= int(found[2]):
            raise UserError(f"--shard should be {HOW}. Received: {text}")
        return cls(int(found[1]), int(found[2]))

    def rows(self, count: int, batch_size: int) -> slice:
        """Which of `count` images it has; raises `UserError` where there are fewer pieces than parts."""
        piece = math.lcm(GROUP, batches.NEARBY * batch_size)
        pieces = count // piece
        if pieces < self.of:
            raise UserError(
                f"--shard={self.index}/{self.of}: {count} images are {pieces} times the {piece} that a part has at "
                "least: divide by less, or lower --batch_size"
            )
        first, end = (index * pieces // self.of * piece for index in (self.index, self.index + 1))
        return slice(first, count if self.index == self.of - 1 else end)


def measure_part(
    model: EvaluatedModel, source: Source, protocol: Protocol, batch_size: int, variant: str, shard: Shard
) -> pathlib.Path:
    """Measures a part of what `measure` would, and writes it into the model's folder; returns the file's path.

    Raises:
        UserError: the part cannot be measured, or not be written.
    """
    places = batches.spread(source.sizes[protocol.split], protocol.limit)
    places = places[shard.rows(len(places), batch_size)]
    own = source.subset(protocol.split, places)
    found = measure(model, own, dataclasses.replace(protocol, limit=None, randomization=0), batch_size)
    found.columns["index"] = places[found.columns["index"]]
    path = results.file(model.folder, f"shard-{shard.index}-of-{shard.of}.npz", variant)
    with files.reported(model.folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.whole(path, "wb") as stream:
            arrays: dict[str, Any] = {**_arrays(found), "about": _about(model, source, protocol, batch_size)}
            np.savez_compressed(stream, **arrays)
    return path


def joined(model: EvaluatedModel, source: Source, protocol: Protocol, batch_size: int, variant: str) -> Measurement:
    """What `measure` gives, out of the parts in the model's folder.

    Raises:
        UserError: parts are missing, or were measured otherwise.
    """
    found = _parts(model.folder, variant)
    of = max(found, default=(1,))[0]
    if missing := [f"{index}/{of}" for index in range(of) if (of, index) not in found]:
        raise UserError(f"--shard={JOIN}: {model.folder} has no {first_few(missing)}; measure these parts first")
    if others := [path.name for (each, _), path in found.items() if each != of]:
        raise UserError(f"--shard={JOIN}: {model.folder} has also {first_few(others)}; remove what is not wanted")
    parts = []
    for (_, index), path in found.items():
        with np.load(path) as file:
            parts.append(dict(file))
        there, here = json.loads(str(parts[-1].pop("about"))), json.loads(_about(model, source, protocol, batch_size))
        for fact in (fact for fact in here if there[fact] != here[fact]):
            told = f"{fact} {there[fact]} there, {here[fact]} here"
            raise UserError(f"--shard={JOIN}: part {index}/{of} was measured otherwise, {told}: measure it again")
    both = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    columns, curves = ({name.partition("/")[2]: both[name] for name in both if name.startswith(kind)} for kind in KINDS)
    columns["id"] = columns["id"].astype(object)
    return with_rest(columns, curves, model, source, protocol)


def remove(folder: files.PathLike, variant: str) -> None:
    """Removes the parts that `joined` has read."""
    for path in _parts(folder, variant).values():
        path.unlink()


def _parts(folder, variant):
    """The files of parts in a folder: {(of how many, which): path}, in order."""
    name = re.compile(rf"shard-(\d+)-of-(\d+){re.escape(variant and '-' + variant)}\.npz")
    matches = ((name.fullmatch(path.name), path) for path in pathlib.Path(folder).glob("shard-*.npz"))
    return dict(sorted(((int(match[2]), int(match[1])), path) for match, path in matches if match))


def _arrays(found):
    """A measurement's arrays by name, none of them of objects."""
    columns = {**found.columns, "id": found.columns["id"].astype(str)}
    both = zip(KINDS, (columns, found.curves), strict=True)
    return {f"{kind}/{name}": array for kind, arrays in both for name, array in arrays.items()}


def _about(model, source, protocol, batch_size):
    """What parts of one evaluation have in common, as JSON."""
    size = source.sizes[protocol.split]
    settings = dataclasses.asdict(dataclasses.replace(protocol, randomization=0, resamples=100))  # of the whole alone
    return json.dumps({"checkpoint": model.checkpoint, "split_examples": size, "batch_size": batch_size, **settings})
