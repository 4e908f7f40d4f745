"""Which pictures are shown, and what is drawn of them."""

import dataclasses

import numpy as np
import pytest

from cgc_tf.common.errors import UserError
from cgc_tf.data import load
from cgc_tf.evaluation import evaluated_models, examples
from cgc_tf.evaluation.examples import Drawing
from cgc_tf.evaluation.measure import measure
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.method import geometry, resizing


@pytest.mark.slow
def test_on_a_mistake_both_heatmaps_are_drawn(workdir, small_config):
    """Each is that of the class that is named under it."""
    source, subject = load.load_dataset("folder", small_config.data_dir), evaluated_models.from_workdir(workdir)
    columns = measure(subject, source, Protocol(curves="none")).columns
    wrong = int(np.flatnonzero(columns["predicted"] != columns["label"])[0])
    right = int(np.flatnonzero(columns["predicted"] == columns["label"])[0])
    shown = examples.examples(source, "test", [int(columns["index"][wrong]), int(columns["index"][right])])
    answers = examples.explain(subject, columns, shown)
    label, predicted = (examples.readable(source.class_names[columns[key][wrong]]) for key in ("label", "predicted"))
    assert (
        answers[0]["caption"].startswith(f"label {label}")
        and answers[0]["mistake"]["caption"]
        == f"says {predicted}, {100 * columns['probability_of_predicted'][wrong]:.0f}% sure"
    )
    assert answers[1]["caption"].startswith("right") and answers[1]["mistake"] is None
    whole = resizing.resize_image(shown[0]["image"], geometry.shorter_side(*shown[0]["image"].shape[:2], 96))[None]
    for found, key in ((answers[0], "label"), (answers[0]["mistake"], "predicted")):
        expected = subject.network.explain(whole, [columns[key][wrong]])["heatmap"][0]
        np.testing.assert_allclose(found["heatmap"], expected, rtol=1e-4, atol=1e-5)
    assert np.abs(answers[0]["heatmap"] - answers[0]["mistake"]["heatmap"]).max() > 1e-3
    rows = examples.rows_of_figure({"cgc": answers})
    assert list(rows) == ["cgc", "cgc, its mistakes"] and rows["cgc, its mistakes"][1] is None


def test_choosing_by_what_is_not_there(workdir, small_config):
    source = load.load_dataset("folder", small_config.data_dir)
    source = dataclasses.replace(source, has_boxes=False)
    with pytest.raises(UserError, match="--show=worst is not used: folder has no boxes"):
        Drawing(show="worst").check(source)
    with pytest.raises(UserError, match=r"no example nobody is measured; ids are such as test/blue_wings/000"):
        examples.check_ids(source, "test", 4, ("test/blue_wings/000.jpg", "nobody"))
    with pytest.raises(UserError, match="--tolerance is not used: folder has no boxes"):
        Protocol(tolerance=3).check(source)
    for curves in ("none", "road"):
        with pytest.raises(UserError, match=f"--curve_steps is not used by --curves={curves}"):
            Protocol(curves=curves, curve_steps=3)
    with pytest.raises(UserError, match="--scored_class is not used by --curves=none"):
        Protocol(curves="none", scored_class="label")
    assert Protocol(curves="road", scored_class="label").scored_class == "label"
