"""An evaluation by two processes: the files of one, byte for byte."""

import dataclasses
import pathlib
import shutil

import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.evaluation import evaluate
from cgc_tf.evaluation.examples import Drawing
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.evaluation.shards import Shard

PROTOCOL = Protocol(curves="insertion", curve_steps=2, resamples=100, randomization=2, limit=70)


@pytest.fixture(scope="module")
def measure(workdir, draw_folder, tmp_path_factory):
    """Measures a copy of a run by this name on 70 of 72 pictures: two parts of 32, and six left over."""
    data = draw_folder(tmp_path_factory.mktemp("many") / "pictures", {"train": 1, "test": 24})
    folders = tmp_path_factory.mktemp("runs")

    def measure(name, shard="", **settings):
        if not (folders / name).exists():
            shutil.copytree(workdir, folders / name / "run")
        protocol = dataclasses.replace(PROTOCOL, dataset="folder", data_dir=str(data), **settings)
        evaluate.evaluate([folders / name / "run"], None, protocol, 8, drawing=Drawing(2, gallery=2), shard=shard)
        return folders / name / "run"

    return measure


@pytest.mark.slow
def test_parts_joined_are_the_whole(measure):
    """And what is no whole is refused before."""
    whole, joined = measure("whole"), measure("joined", "1/2")
    with pytest.raises(UserError, match=r"^--shard=join: .* has no 0/2; measure these parts first"):
        measure("joined", "join")
    measure("joined", "0/2")
    with pytest.raises(UserError, match="part 0/2 was measured otherwise, curves insertion there, both here"):
        measure("joined", "join", curves="both")
    (part,) = joined.glob("shard-0-of-2-*")
    other = shutil.copy(part, str(part).replace("of-2", "of-1"))
    with pytest.raises(UserError, match="has also shard-0-of-1-"):
        measure("joined", "join")
    pathlib.Path(other).unlink()
    measure("joined", "join")
    names = sorted(path.name for path in whole.iterdir())
    assert names == sorted(path.name for path in joined.iterdir())  # and no part is left
    measured = [name for name in names if "limit-70" in name and not name.endswith(".pdf")]  # which has its time
    assert len(measured) > 6
    for name in measured:
        of_joined = (joined / name).read_bytes().replace(bytes(joined), bytes(whole))
        assert of_joined == (whole / name).read_bytes(), name


def test_where_parts_begin():
    """At multiples of 128, four batches of 32; the last one has the rest."""
    rows = [range(1000)[Shard(index, 3).rows(1000, 32)] for index in range(3)]
    assert [(each.start, each.stop) for each in rows] == [(0, 256), (256, 512), (512, 1000)]
    with pytest.raises(UserError, match="1000 images are 7 times the 128 that a part has at least"):
        Shard(0, 8).rows(1000, 32)
    for text in ("2/2", "-1/2", "1/0", "half", "1/2/3"):
        with pytest.raises(UserError, match=f"^--shard should be i/n, .* Received: {text}"):
            Shard.parse(text)
