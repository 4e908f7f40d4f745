"""What an exported version's card says of its model: only what was measured of these weights, and why where nothing."""

import functools
import json
import shutil

import huggingface_hub
import pytest

from cgc_tf.evaluation import evaluate
from cgc_tf.evaluation.examples import Drawing
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report.readme import readme
from cgc_tf.training import checkpoints
from export.artifact import card


@pytest.mark.slow
def test_model_card_has_whole_evaluations_of_these_weights(workdir, small_config, tmp_path):
    """Not of part of the test split, of other data, or of an earlier checkpoint; the card says why it has none."""
    copy = shutil.copytree(workdir, tmp_path / "run", ignore=shutil.ignore_patterns("evaluation*"))
    last, earlier = checkpoints.find(copy), checkpoints.files(copy / checkpoints.FOLDER)[0].name
    no_curves = Protocol(curves="none", limit=4)
    evaluate.evaluate([copy], protocol=no_curves, drawing=Drawing(1, gallery=1))
    describe = functools.partial(card.of_run, small_config, copy, last, ("a", "b", "c"))
    assert (describe()["metrics"], describe()["no_metrics"]) == ({}, "it was not evaluated")
    evaluate.evaluate([copy], protocol=Protocol(curves="none"), drawing=Drawing(1, gallery=1))
    contents = describe()
    metrics = contents["metrics"]
    assert metrics["examples"] == 12 and metrics["checkpoint"] == last.name == contents["checkpoint"]
    assert contents["no_metrics"] is None
    del metrics["statistics"]["road"], metrics["statistics"]["balanced_top1"]  # as versions from before them are
    text = readme(contents, ("a", "b", "c"), "someone/planes")
    data = huggingface_hub.ModelCard(text).data
    told = {each.metric_type: each.metric_value for each in data.eval_results}
    assert (data.license, data.model_name, data.metrics) == ("unknown", "planes", ["accuracy"])
    assert {each.dataset_split for each in data.eval_results} == {"test"} and told["accuracy"] == metrics["top1"]
    assert told["content_heatmap"] == metrics["content_heatmap"] and "insertion_auc" not in told
    assert "On 12 pictures, the whole test split" in text and f"| top-1 ↑ | {100 * told['accuracy']:.2f} [" in text
    whole = json.loads((copy / "evaluation.json").read_text())
    for changed, reason in (
        ({"checkpoint": earlier}, f"is of another checkpoint, {earlier}"),
        ({"protocol": {**whole["protocol"], "limit": 4}}, "is not of the whole test split"),
        ({"protocol": {**whole["protocol"], "split": "train"}}, "is not of the whole test split"),
        ({"protocol": {**whole["protocol"], "data_dir": "elsewhere"}}, "is of other data than the run's"),
        ({"protocol": None}, "cannot be read"),
    ):
        (copy / "evaluation.json").write_text(json.dumps({**whole, **changed}))
        assert describe()["metrics"] == {} and reason in describe()["no_metrics"]
