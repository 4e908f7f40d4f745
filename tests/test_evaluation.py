"""Evaluation over a real run: the numbers by a literal second way, the report, and the figures."""

import csv
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cgc_tf import checkpoints, evaluation, figures, runs
from cgc_tf.errors import UserError
from cgc_tf.evaluation import Drawing
from cgc_tf.protocol import Protocol


@pytest.fixture(scope="module")
def evaluated(workdir):
    reports, figure = evaluation.evaluate_runs([workdir], drawing=Drawing(3), batch_size=5)
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


def test_files_beside_the_report(evaluated, workdir):
    """Every image has a line of its own, whose means are the report's; the curves' areas are the scores."""
    report, _ = evaluated
    rows = list(csv.DictReader((workdir / "per_image.csv").open()))
    assert len(rows) == len({row["id"] for row in rows}) == 12
    for key in ("top1", "content_heatmap", "insertion_auc", "deletion_auc", "pointing_game", "consistency"):
        values = [float(row[key]) for row in rows if row[key]]
        np.testing.assert_allclose(np.mean(values), report[key], rtol=1e-4, err_msg=key)
    curves = [row for row in csv.reader((workdir / "curves.csv").open()) if row[1] == "deletion"]
    scores = np.array([row[2:] for row in curves], float)
    assert scores.shape == (12, 29)
    areas = (scores[:, 1:] + scores[:, :-1]).mean(1) / 2
    np.testing.assert_allclose(areas, [float(row["deletion_auc"]) for row in rows], atol=1e-4)
    np.testing.assert_allclose(scores.mean(0), report["curves"]["deletion"]["mean"], atol=1e-4)
    for name in ("explanations.pdf", "curves.png", "curves.pdf", "content_heatmap.png", "report.html"):
        assert (workdir / name).stat().st_size > 1000, name


def test_report_says_how_it_was_made(evaluated):
    report, _ = evaluated
    assert report["protocol"]["curve_substrate"] == "blur" and report["protocol"]["evaluation_seed"] == 0
    assert report["versions"]["tensorflow"] == tf.__version__ and report["hardware"]["processor"]
    low, high = report["statistics"]["content_heatmap"]["interval"]
    assert low < report["content_heatmap"] < high
    assert sum(found["examples"] for found in report["per_class"].values()) == 12
    assert report["mask_energy"] is None  # a folder has no masks


@pytest.mark.parametrize("curves", ["insertion", "none"])
def test_curves_can_be_left_out(workdir, tmp_path, curves):
    other = shutil.copytree(workdir, tmp_path / "other", ignore=shutil.ignore_patterns("*.png"))
    reports, _ = evaluation.evaluate_runs([other], Protocol(limit=2, curves=curves), drawing=Drawing(1))
    assert list(reports[0]["curves"]) == ([] if curves == "none" else [curves])
    assert reports[0]["deletion_auc"] is None and (reports[0]["insertion_auc"] is None) == (curves == "none")
    assert (other / "curves.png").exists() == (curves != "none")
    assert " - " in evaluation.table(reports)


def test_explainers_side_by_side(workdir, tmp_path):
    """Explainers of one run are compared with its own heatmaps, and leave its report alone."""
    other = shutil.copytree(workdir, tmp_path / "other")
    protocol = Protocol(limit=4)
    reports, figure = evaluation.evaluate_runs([other], protocol=protocol, explainers=("", "gradients_inputs"))
    assert figure == other / "explanations.png"
    assert [report["explainer"] for report in reports] == ["hirescam", "gradients_inputs"]
    assert reports[0]["top1"] == reports[1]["top1"]
    assert reports[0]["content_heatmap"] != reports[1]["content_heatmap"]
    assert json.loads((other / "evaluation-gradients_inputs.json").read_text()) == reports[1]
    assert json.loads((other / "evaluation.json").read_text()) == reports[0]


def test_comparison_of_two_runs(workdir, tmp_path):
    other = shutil.copytree(workdir, tmp_path / "other")
    again = shutil.copytree(workdir, tmp_path / "again")
    reports, figure = evaluation.evaluate_runs([other, again], drawing=Drawing(2), batch_size=12)
    assert figure == tmp_path / "comparison.png" and figure.stat().st_size > 10_000
    assert reports[0]["content_heatmap"] == reports[1]["content_heatmap"]
    lines = evaluation.table(reports).splitlines()
    assert lines[0].split() == ["top-1", "top-5", "CH", "insertion", "deletion", "pointing", "consistency"]
    assert lines[1].startswith("cgc (other)") and lines[2].startswith("cgc (again)")
    assert f"{100 * reports[0]['content_heatmap']:.2f}" in lines[1]
    compared = json.loads((tmp_path / "comparison.json").read_text())[0]
    share = compared["metrics"]["content_heatmap"]
    assert (compared["first"], compared["second"]) == ("other", "again")
    assert share["mean"] == 0 and share["interval"] == [0, 0] and share["better"] == share["worse"] == 0
    for name in ("comparison.md", "comparison.tex", "comparison.html", "comparison_curves.pdf"):
        assert (tmp_path / name).exists(), name
    assert (tmp_path / "comparison.tex").read_text().count("\\begin{tabular}") == 2


def test_what_cannot_be_evaluated(workdir, tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        evaluation.evaluate_runs([tmp_path])
    broken = shutil.copytree(workdir, tmp_path / "broken")
    files = checkpoints.files(broken / "checkpoints")
    for path in files:
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="none of the 2 checkpoints"):
        evaluation.evaluate_runs([broken])
    for path in files:
        path.unlink()
    with pytest.raises(UserError, match="has no checkpoint"):
        evaluation.evaluate_runs([broken])
    with pytest.raises(UserError, match="--split=dev: folder has test, train"):
        evaluation.evaluate_runs([workdir], Protocol(split="dev"))


def test_overlay():
    """Hot where the heatmap is, untouched where it is zero or does not reach."""
    image = np.full([40, 60, 3], 100, np.uint8)
    heatmap = np.zeros([4, 4])
    heatmap[0, 0] = 2
    drawn = figures.overlay(image, heatmap, (0, 0, 1, 0.5))
    assert drawn.shape == image.shape and drawn.dtype == np.uint8
    assert (drawn[:5, :3] != 100).any() and (drawn[:, 30:] == 100).all() and (drawn[30:] == 100).all()
    np.testing.assert_array_equal(figures.overlay(image, np.zeros([4, 4])), image)
