"""Evaluation over a real run: the numbers by a literal second way, the report, and the figures."""

import csv
import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cgc_tf.common.errors import UserError
from cgc_tf.evaluation import evaluate
from cgc_tf.evaluation.examples import Drawing
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import tables
from cgc_tf.training import checkpoints, run_folder


@pytest.fixture(scope="module")
def evaluated(workdir):
    done = evaluate.evaluate([workdir], drawing=Drawing(3), batch_size=5)
    return done.reports[0], done.figure


def shorter_side(picture, side):
    return tuple(side * length // min(picture.size) for length in picture.size)


def literal(workdir, small_config, pictures):
    """Top-1 and CH with Pillow, NumPy and one image at a time."""
    model = run_folder.trained_model(small_config, workdir)
    names = run_folder.class_names(workdir)
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
    assert report["top5"] is None  # which would be 1 of three classes, whatever is predicted
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
    assert sum(count for row in report["confusion"].values() for count in row.values()) == 12
    for row in rows:
        assert report["confusion"][row["label"]][row["predicted"]] and (row["label"] == row["predicted"]) == (
            row["top1"] == "1"
        )
        assert float(row["probability_of_label"]) <= float(row["probability_of_predicted"]) <= 1
        assert row["background_only_predicted"] in report["per_class"]
    curves = [row for row in csv.reader((workdir / "curves.csv").open()) if row[1] == "deletion"]
    scores = np.array([row[2:] for row in curves], float)
    assert scores.shape == (12, 29)
    areas = (scores[:, 1:] + scores[:, :-1]).mean(1) / 2
    np.testing.assert_allclose(areas, [float(row["deletion_auc"]) for row in rows], atol=1e-4)
    np.testing.assert_allclose(scores.mean(0), report["curves"]["deletion"]["mean"], atol=1e-4)
    error = scores.std(0, ddof=1) / np.sqrt(12)
    np.testing.assert_allclose(error, report["curves"]["deletion"]["standard_error"], atol=1e-4)
    for name in (
        "explanations.pdf",
        "curves.png",
        "curves.pdf",
        "content_heatmap.png",
        "reliability.png",
        "report.html",
    ):
        assert (workdir / name).stat().st_size > 1000, name


def test_report_says_how_it_was_made_and_of_what(evaluated, workdir, small_config):
    report, _ = evaluated
    assert report["protocol"]["curve_substrate"] == "blur" and report["protocol"]["evaluation_seed"] == 0
    assert report["versions"]["tensorflow"] == tf.__version__ and report["hardware"]["processor"]
    low, high = report["statistics"]["content_heatmap"]["interval"]
    assert low < report["content_heatmap"] < high
    assert sum(found["examples"] for found in report["per_class"].values()) == 12
    assert (report["dataset"], report["data_dir"]) == ("folder", small_config.data_dir)
    assert (report["split"], report["examples"], report["split_examples"], report["skipped"]) == ("test", 12, 12, 0)
    assert report["checkpoint"] == checkpoints.files(workdir / "checkpoints")[-1].name
    assert report["retrieval_rank_among"] == 12  # fewer than the groups of 32
    _, rows = tables.every_score([report])
    assert [row[0] for row in rows if row[0].startswith("rank")] == ["rank of 12 ↓"]
    assert not [row for row in rows if row[0].startswith("top-5")]
    assert report["mask_energy"] is None  # a folder has no masks


@pytest.mark.slow
@pytest.mark.parametrize("curves", ["none", "insertion", "road"])
def test_curves_can_be_left_out(workdir, tmp_path, curves):
    other = shutil.copytree(workdir, tmp_path / "other", ignore=shutil.ignore_patterns("*.png"))
    (other / "curves-limit-2.png").touch()  # of an earlier evaluation
    (report,) = evaluate.evaluate([other], protocol=Protocol(limit=2, curves=curves), drawing=Drawing(1)).reports
    names = {"insertion": ["insertion"], "road": ["road_most_first", "road_least_first"], "none": []}[curves]
    assert list(report["curves"]) == names
    assert report["deletion_auc"] is None
    assert [report[name] is not None for name in ("insertion_auc", "road")] == [curves == "insertion", curves == "road"]
    for suffix in ("png", "csv"):
        assert (other / f"curves-limit-2.{suffix}").exists() == (curves != "none")
    shown = set(tables.columns([report]).values()) & {"insertion", "deletion", "ROAD"}
    assert shown == {"insertion": {"insertion"}, "road": {"ROAD"}, "none": set()}[curves]


@pytest.mark.slow
def test_road_is_reported_as_the_other_curves_are(workdir, tmp_path):
    other = shutil.copytree(workdir, tmp_path / "other")
    (report,) = evaluate.evaluate([other], protocol=Protocol(limit=2, curves="road"), drawing=Drawing(1)).reports
    most, least = (report["curves"][f"road_{which}_first"] for which in ("most", "least"))
    assert most["share"] == least["share"] == [0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 0.9]
    np.testing.assert_allclose(np.mean(least["mean"]) - np.mean(most["mean"]), report["road"], atol=1e-6)
    rows = list(csv.DictReader((other / "per_image-limit-2.csv").open()))
    np.testing.assert_allclose(np.mean([float(row["road"]) for row in rows]), report["road"], rtol=1e-4)
    curves = [row for row in csv.reader((other / "curves-limit-2.csv").open()) if row[1] == "road_least_first"]
    np.testing.assert_allclose(np.array([row[2:] for row in curves], float).mean(0), least["mean"], atol=1e-4)
    _, rows = tables.every_score([report])
    assert [row[1].split()[0] for row in rows if row[0] == "ROAD ↑"] == [f"{100 * report['road']:.2f}"]
    page = (other / "report-limit-2.html").read_text()
    assert "ROAD ↑" in page and "as pixels come and go" in page


@pytest.mark.slow
def test_explainers_side_by_side(evaluated, workdir, tmp_path):
    """Explainers of one run are compared with its own heatmaps, and leave its report alone."""
    other = shutil.copytree(workdir, tmp_path / "other")
    protocol = Protocol(limit=4)
    whole = (workdir / "evaluation.json").read_bytes()
    reports, _, figure, page = evaluate.evaluate(
        [other], protocol=protocol, explainers=("", "gradients_inputs"), drawing=Drawing(2, gallery=2)
    )
    assert (figure, page) == (other / "explanations-limit-4.png", other / "report-limit-4.html")
    assert [report["explainer"] for report in reports] == ["hirescam", "gradients_inputs"]
    assert reports[0]["top1"] == reports[1]["top1"]
    assert reports[0]["content_heatmap"] != reports[1]["content_heatmap"]
    assert json.loads((other / "evaluation-gradients_inputs-limit-4.json").read_text()) == reports[1]
    assert json.loads((other / "evaluation-limit-4.json").read_text()) == reports[0]
    assert (other / "evaluation.json").read_bytes() == whole  # an evaluation in part leaves the whole one alone
    assert tables.measured_on(reports[0]).startswith("4 of the 12 images of split test of folder; a uniform heatmap")


def test_another_protocol_leaves_the_report_alone():
    """Whatever changes what a number is has files of its own; what is only added or left out has not."""
    trained = {"dataset": "folder", "data_dir": "here", "record": None, "objects": "there/coco.json"}

    def variant(explainer="", **choices):
        return Protocol(dataset="folder", data_dir="here", **choices).variant(trained, explainer)

    assert variant() == variant(curves="none") == variant(randomization=4) == variant(resamples=100) == ""
    assert variant(objects="there/coco.json") == ""
    assert variant(ch_region="mask") == "ch_region-mask"
    assert variant("occlusion", tolerance=0, limit=6) == "occlusion-tolerance-0-limit-6"
    assert variant(objects="there/boxes.csv") == "objects-boxes"
    left = {"dataset", "data_dir", "on_bad_image", "test_fraction", "curves", "randomization", "resamples"}
    others = {"objects": "x", "split": "train", "limit": 3, "ch_region": "mask", "curve_substrate": "zero"}
    others |= {"explained_class": "label", "scored_class": "label"}
    for field in dataclasses.fields(Protocol):
        if field.name not in left:
            assert variant(**{field.name: others.get(field.name, 7)}), field.name


@pytest.mark.slow
def test_other_pictures_of_the_same_classes(workdir, small_config, draw_folder, tmp_path):
    """They are measured where they are asked for, and the report says which; other classes are refused by name."""
    other, folder = (
        shutil.copytree(workdir, tmp_path / "run"),
        draw_folder(tmp_path / "others", {"train": 1, "test": 1}),
    )
    protocol = Protocol(data_dir=str(folder), curves="none")
    (report,) = evaluate.evaluate([other], protocol=protocol, drawing=Drawing(1, gallery=1)).reports
    assert (report["examples"], report["data_dir"]) == (3, str(folder))
    assert json.loads((other / "evaluation-others.json").read_text()) == report
    for split in ("train", "test"):
        (folder / split / "red_wings").rename(folder / split / "a_wing")
    (folder / "boxes.csv").unlink()
    with pytest.raises(UserError, match="the model alone has 1: red_wings; the dataset alone has 1: a_wing"):
        evaluate.evaluate([other], protocol=protocol)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps({**config, "data_dir": str(folder)}))
    with pytest.raises(UserError, match=r"was trained on other data than .* --dataset and --data_dir"):
        evaluate.evaluate([workdir, other])


def test_what_cannot_be_evaluated(workdir, tmp_path):
    with pytest.raises(UserError, match="is not a run folder"):
        evaluate.evaluate([tmp_path])
    broken = shutil.copytree(workdir, tmp_path / "broken")
    files = checkpoints.files(broken / "checkpoints")
    for path in files:
        path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(UserError, match="none of the 2 checkpoints"):
        evaluate.evaluate([broken])
    for path in files:
        path.unlink()
    with pytest.raises(UserError, match="has no checkpoint"):
        evaluate.evaluate([broken])
    with pytest.raises(UserError, match="--split=dev: folder has train, test"):
        evaluate.evaluate([workdir], protocol=Protocol(split="dev"))
