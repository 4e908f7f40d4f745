"""The paper's tables as data, and what is said where they cannot be made."""

import tomllib

import pytest

from cgc_tf.common import program
from cgc_tf.common.errors import UserError
from cgc_tf.evaluation import paper_tables
from cgc_tf.method.objective import OBJECTIVES


@pytest.mark.parametrize(
    "path", sorted((program.config_folder() / "tables").glob("*.toml")), ids=lambda path: path.stem
)
def test_tables_name_what_exists(path):
    table = tomllib.loads(path.read_text())
    assert all((program.config_folder().parent / d["flagfile"]).exists() for d in table["datasets"].values())
    assert {row["objective"] for row in table["rows"]} <= set(OBJECTIVES)


@pytest.mark.slow
def test_table_without_its_data(tmp_path, monkeypatch):
    """The published figures are shown, and which files are missing, from any folder."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        paper_tables.make("no_negatives", data_dir=str(tmp_path), output=tmp_path / "out")
    message = str(caught.value)
    assert "| cgc | 0 | - |" in message and "| 84.04 | 72.32 |" in message
    assert message.splitlines()[-1].startswith("not run here: imagenet100 cannot be prepared: missing ")


def test_unknown_table_and_dataset():
    with pytest.raises(UserError, match="--table=two is not known; there are no_negatives"):
        paper_tables.make("two")
    with pytest.raises(UserError, match="--dataset=cub200: the table is made for imagenet100, toy_aircraft"):
        paper_tables.make("no_negatives", "cub200")
