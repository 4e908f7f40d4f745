"""The verdict on models whose answer is known: one reads the border of a picture alone, one its object alone."""

import html

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from cgc_tf.data import load
from cgc_tf.evaluation import hiding
from cgc_tf.evaluation.evaluated_models import EvaluatedModel
from cgc_tf.evaluation.measure import measure
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import calibration, confusion, results, verdict

PAINTS = np.array([(200, 40, 40), (40, 40, 200)])


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Two colors of objects, which are the classes, on two colors of backgrounds, which in `test` go with no class."""
    root = tmp_path_factory.mktemp("painted")
    lines = ["file,ymin,xmin,ymax,xmax"]
    for split, each in (("train", 1), ("test", 15)):
        for label in (0, 1):
            (root / split / f"class_{label}").mkdir(parents=True)
            for index in range(2 * each):
                pixels = np.tile(PAINTS[index % 2], [32, 32, 1]).astype(np.uint8)
                pixels[12:20, 10:22] = PAINTS[label]
                file = f"{split}/class_{label}/{index:02d}.png"
                Image.fromarray(pixels).save(root / file)
                lines.append(f"{file},{12 / 32},{10 / 32},{20 / 32},{22 / 32}")
    (root / "boxes.csv").write_text("\n".join(lines) + "\n")
    return load.load_dataset("folder", str(root))


def by(look, tmp_path):
    """A model of two classes, 90% sure of the color that most of what `look` sees has; of neither, of the first."""

    def probabilities(images):
        seen = look(tf.cast(images, tf.float32))
        paint = [tf.reduce_sum(tf.cast(tf.reduce_all(tf.abs(seen - c) < 9, -1), tf.float32), [1, 2]) for c in PAINTS]
        return tf.where((paint[1] > paint[0])[:, None], [[0.1, 0.9]], [[0.9, 0.1]])

    def explain(images, class_ids):
        return tf.ones([len(class_ids), 2, 2])

    names = ("class_0", "class_1")
    return EvaluatedModel("oracle", tmp_path, {}, 32, names, probabilities, explain, takes_any_size=False)


def scored(look, source, tmp_path):
    measurement = measure(by(look, tmp_path), source, Protocol(curves="none"))
    return results.scores(measurement, source.class_names, 100, 0), measurement.columns


def test_a_model_that_reads_the_border(source, tmp_path):
    """It is right by chance alone, as backgrounds go with no class; and the verdict still names both."""
    report, columns = scored(lambda images: images[:, :3, :3], source, tmp_path)
    assert report["top1"] == report["background_only_top1"] == 0.5
    assert report["background_only_same"] == 1 and report["object_only_same"] == 0.5
    found = report["background"]
    assert (found["same"], found["same_by_chance"], found["mistakes"], found["same_mistakes"]) == (1, 0.5, 30, 30)
    assert all(one["difference"] == 1 and one["by_background"] for one in found["classes"].values())
    words = verdict.headline("it", found)
    assert words == "it recognizes 2 of 2 classes at least partly by their background: class 0, class 1."
    assert not any("no more than a guess" in line for line in verdict.evidence(report))  # 60 pictures cannot show it
    report["statistics"]["background_only_top1"]["interval"] = [0.45, 0.55]
    assert any("no more than a guess" in line for line in verdict.evidence(report))
    shown = hiding.given_away(source, "test", columns, found, 32)
    assert [one["caption"] for one in shown] == ["class 0, 90% sure", "class 1, 90% sure"]
    for one, paint in zip(shown, PAINTS, strict=True):
        np.testing.assert_allclose(one["image"][0, 0], paint, atol=3)
        np.testing.assert_array_equal(one["image"][16, 16], [124, 116, 104])  # ImageNet's mean color


def test_a_model_that_reads_the_object(source, tmp_path):
    """It says one class of all hidden objects, which is no sign of the background."""
    report, columns = scored(lambda images: images[:, 14:18, 14:18], source, tmp_path)
    assert report["top1"] == report["object_only_top1"] == report["object_only_same"] == 1
    assert report["background_only_top1"] == 0.5
    assert [one["by_background"] for one in report["background"]["classes"].values()] == [False, False]
    words = verdict.headline("it", report["background"])
    assert words == "it recognizes none of 2 classes by its background, as far as 60 pictures can show."
    assert hiding.given_away(source, "test", columns, report["background"], 32) == []
    assert set(columns["background_only_predicted"]) == {0}
    assert report["balanced_top1"] == 1 and report["confusion"] == {
        "class_0": {"class_0": 30},
        "class_1": {"class_1": 30},
    }
    np.testing.assert_allclose([report["calibration"][key] for key in ("confidence", "ece")], [0.9, 0.1], atol=1e-6)


@pytest.mark.parametrize(("still", "given", "expected"), [(15, 100, False), (25, 100, True), (9, 9, None)])
def test_rule_wants_the_whole_interval_beyond_the_margin(still, given, expected):
    """15 of 100 is 12.5 points more than 10 of 400, but only surely 7."""
    whole = np.repeat([0, 1], [given, 400])
    hidden = np.concatenate([np.arange(given) >= still, np.arange(400) >= 10]).astype(int)
    columns = {"label": whole, "predicted": whole, "background_only_predicted": hidden}
    found = verdict.backgrounds(columns, ["a_b", "c"])["classes"]["a_b"]
    assert (found["still_given"], found["others_given"]) == (still, 10)
    assert found["by_background"] is expected
    assert expected is None or found["difference"] > verdict.MARGIN


def test_what_is_not_known_is_not_said():
    columns = {"label": np.zeros(4, int), "predicted": np.zeros(4, int), "background_only_predicted": np.full(4, -1)}
    assert verdict.backgrounds(columns, ["a"]) is None
    assert "not known, for no picture has a box" in verdict.headline("it", None)
    few = verdict.backgrounds({**columns, "background_only_predicted": np.array([0, 0, 0, -1])}, ["a", "b"])
    assert verdict.headline("it", few).startswith("it: 3 pictures are too few")


def test_calibration_against_a_loop():
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.2, 1, 500).astype(np.float32)
    right = rng.random(500) < sure**2
    expected = 0
    for low in range(15):
        inside = [i for i in range(500) if low / 15 < sure[i] <= (low + 1) / 15]
        if inside:
            expected += len(inside) / 500 * abs(np.mean(right[inside]) - np.mean(sure[inside]))
    found = calibration.calibration(sure, right)
    np.testing.assert_allclose(found["ece"], expected, rtol=1e-5)
    assert sum(one["examples"] for one in found["bins"]) == 500 and found["ece"] > 0.05
    assert calibration.calibration([1.0, 1.0], [1, 1])["ece"] == 0


def test_a_matrix_of_many_classes_has_the_most_confused():
    """30 classes, of which class 29 is taken for class 28 most often; what is listed is what can be clicked."""
    names = [f"c<{index}>" for index in range(30)]
    label = np.repeat(np.arange(30), 4)
    predicted = np.where((label == 29) | (label < 19) & (np.arange(120) % 4 == 0), 28, label)
    columns = {"label": label, "predicted": predicted, "probability_of_predicted": np.linspace(0.5, 1, 120)}
    columns["id"] = np.array([f"id{index}" for index in range(120)])
    report = {"confusion": confusion.counts(columns, names), "per_class": dict.fromkeys(names), "classes": 30}
    assert report["confusion"]["c<29>"] == {"c<28>": 4}
    drawn = confusion.matrix(report, "it")
    assert "20 of 30 classes, those in most mistakes" in drawn and drawn.count("<th scope=col>") == 20
    listed = confusion.images(columns, report, names, "it")
    assert listed[confusion.pair("it", "c<29>", "c<28>")] == [
        [f"id{i}", round(0.5 + i / 238, 3)] for i in (119, 118, 117, 116)
    ]
    assert all(html.escape(cell) in drawn for cell in listed) and drawn.count("<button") == len(listed)
