"""Evaluation over a real run: the numbers by a literal second way, the report, and the figures."""

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cgc_tf import evaluation, figures, runs, sources
from cgc_tf.errors import UserError


@pytest.fixture(scope="module")
def evaluated(workdir):
    reports, figure = evaluation.evaluate_runs([workdir], examples=3, batch_size=5)
    return reports[0], figure


def shorter_side(picture, side):
    return tuple(side * length // min(picture.size) for length in picture.size)


def literal(workdir, small_config, pictures):
    """Top-1 and CH with Pillow, NumPy and one image at a time."""
    model = runs.trained_model(small_config, workdir)
    names = runs.class_names(workdir)
    rows = [line.split(",") for line in (pictures / "boxes.csv").read_text().splitlines()[1:]]
    right, shares = [], []
    for file, *box in rows:
        if not file.startswith("test/"):
            continue
        label = names.index(file.split("/")[1])
        with Image.open(pictures / file) as picture:
            width, height = picture.size
            view = picture.resize(shorter_side(picture, 55), Image.Resampling.BILINEAR)
            left, top = round((view.width - 48) / 2), round((view.height - 48) / 2)
            view = np.asarray(view.crop((left, top, left + 48, top + 48)))
            whole = np.asarray(picture.resize(shorter_side(picture, 96), Image.Resampling.BILINEAR))
        right.append(int(np.argmax(model.explain(view[None])["probabilities"])) == label)
        heatmap = tf.image.resize(model.explain(whole[None], [label])["heatmap"][..., None], [height, width])[0, ..., 0]
        if not np.max(heatmap):
            continue
        ymin, xmin, ymax, xmax = np.rint(np.array(box, float) * [height, width, height, width]).astype(int)
        shares.append(float(np.sum(heatmap[ymin:ymax, xmin:xmax]) / np.sum(heatmap)))
    return np.mean(right), np.mean(shares), len(right) - len(shares)


def test_report(evaluated, workdir, small_config, pictures):
    report, figure = evaluated
    assert json.loads((workdir / "evaluation.json").read_text()) == report
    assert report["examples"] == 12 and report["without_boxes"] == 0
    top1, share, zero = literal(workdir, small_config, pictures)
    np.testing.assert_allclose(report["top1"], top1, atol=1 / 12 + 1e-6)  # JPEG decoders differ by a shade
    np.testing.assert_allclose(report["content_heatmap"], share, atol=5e-3)
    assert report["zero_heatmaps"] == zero
    assert report["top5"] == 1.0  # of three classes
    assert 0 < report["insertion_auc"] < 1
    boxes = np.genfromtxt(pictures / "boxes.csv", delimiter=",", skip_header=1, usecols=(1, 2, 3, 4))[24:]
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    np.testing.assert_allclose(report["content_heatmap_of_uniform"], areas.mean(), atol=0.01)
    assert report["config"]["objective"] == "cgc" and report["split"] == "test"
    with Image.open(figure) as image:
        assert image.width > 500 and figure == workdir / "explanations.png"


def test_batch_size_does_not_change_the_numbers(evaluated, workdir, small_config):
    source = sources.load("folder", small_config.data_dir)
    model = runs.trained_model(small_config, workdir)
    scores = evaluation.measure(model, source, "test", 48, batch_size=12)
    for key, value in scores.items():
        np.testing.assert_allclose(value, evaluated[0][key], rtol=1e-4, err_msg=key)


def test_limit_spreads_over_the_split(workdir, small_config):
    source = sources.load("folder", small_config.data_dir)
    scores = evaluation.measure(runs.trained_model(small_config, workdir), source, "test", 48, 4, limit=6)
    assert scores["examples"] == 6


def test_comparison_of_two_runs(workdir, tmp_path):
    other = shutil.copytree(workdir, tmp_path / "other")
    again = shutil.copytree(workdir, tmp_path / "again")
    reports, figure = evaluation.evaluate_runs([other, again], examples=2, batch_size=12)
    assert figure == tmp_path / "comparison.png" and figure.stat().st_size > 10_000
    assert reports[0]["content_heatmap"] == reports[1]["content_heatmap"]
    lines = evaluation.table(reports).splitlines()
    assert lines[0].split() == ["top-1", "top-5", "CH", "insertion"]
    assert lines[1].startswith("cgc (other)") and lines[2].startswith("cgc (again)")
    assert f"{100 * reports[0]['content_heatmap']:.2f}" in lines[1]


def test_what_cannot_be_evaluated(workdir, tmp_path):
    with pytest.raises(UserError, match="is no workdir"):
        evaluation.evaluate_runs([tmp_path])
    broken = shutil.copytree(workdir, tmp_path / "broken")
    (broken / runs.CHECKPOINT).write_bytes((broken / runs.CHECKPOINT).read_bytes()[:1000])
    with pytest.raises(UserError, match=r"last.weights.h5 (is not an HDF5 file|does not fit)"):
        evaluation.evaluate_runs([broken])
    (broken / runs.CHECKPOINT).unlink()
    with pytest.raises(UserError, match="has no checkpoint"):
        evaluation.evaluate_runs([broken])
    with pytest.raises(UserError, match="--split=dev: folder has test, train"):
        evaluation.evaluate_runs([workdir], split="dev")


def test_overlay():
    """Hot where the heatmap is, untouched where it is zero or does not reach."""
    image = np.full([40, 60, 3], 100, np.uint8)
    heatmap = np.zeros([4, 4])
    heatmap[0, 0] = 2
    drawn = figures.overlay(image, heatmap, (0, 0, 1, 0.5))
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (drawn[:5, :3] != 100).any() and (drawn[:, 30:] == 100).all() and (drawn[30:] == 100).all()
    np.testing.assert_array_equal(figures.overlay(image, np.zeros([4, 4])), image)
