"""Every picture that a person sees: it shows something, of several classes, and its text is whole and by itself."""

import itertools
import re
import warnings

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from cgc_tf.common import lettering
from cgc_tf.data import inspect_dataset
from cgc_tf.data.datasets.toy_aircraft import drawing
from cgc_tf.evaluation import examples
from cgc_tf.method.objective import VIEWS
from cgc_tf.report import figures

LONG = "a_class_of_aircraft_with_a_name_of_many_more_than_forty_letters_and_one_verylongwordwithoutanyspaceinit"
NAMES = (LONG, "cost$of_$\\frac{$", "红色翅膀的大飞机")
RUNS = ("a-run-of-a-long-name-that-goes-on-and-on-and-on", "b-run-of-a-long-name-that-costs-$5-or-$6")
WHOLE = (0.0, 0.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Where every kind of figure is drawn, and {file's name: (the `Figure`, its texts and their boxes)}."""
    folder, found, save = tmp_path_factory.mktemp("drawn"), {}, matplotlib.figure.Figure.savefig

    def saved(figure, path, **options):
        save(figure, path, **options)
        if str(path).endswith(".png"):
            figure.draw_without_rendering()
            found[path.name] = figure, text_boxes(figure)

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # such as matplotlib's, of letters that a font does not have
        patch.setattr(matplotlib.figure.Figure, "savefig", saved)
        figures.explanations(folder / "explanations.png", *shown_examples())
        share = np.linspace(0, 1, 29)
        scores = {"share": share, "mean": 0.2 + 0.7 * share, "standard_error": np.full(29, 0.02)}
        figures.curves(folder / "curves.png", {name: dict.fromkeys(figures.CURVES, scores) for name in RUNS})
        bins = [{"examples": n, "confidence": n / 9, "accuracy": 0.9 - n / 10} for n in (2, 5, 8)]
        figures.reliability(folder / "reliability.png", {name: {"ece": 0.1, "bins": bins} for name in RUNS})
        figures.histogram(folder / "histogram.png", {name: np.linspace(0, 1, 50) for name in RUNS})
        pooled = {"top1": {"mean": 0.7, "deviation": 0.02}, "retrieval_rank": {"mean": 3.0, "deviation": None}}
        figures.tradeoff(
            folder / "tradeoff.png",
            dict.fromkeys(RUNS, pooled),
            "top1",
            dict(zip(pooled, ("top-1", "rank of 32"), strict=True)),
        )
        inspect_dataset.sheet(folder / "sheet.png", list(sheet_examples()))
    return folder, found


def shown_examples():
    """Pictures of three classes, of several shapes, and a row of heatmaps for each of RUNS, as `figures` takes them."""
    rng, images = np.random.default_rng(0), []
    for index in range(6):
        image, mask = drawing.draw(rng, index, index)
        height, width = [(128, 128), (128, 90), (90, 128)][index % 3]
        name = examples.readable(NAMES[index % 3])
        example = {"image": image[:height, :width], "boxes": [drawing.bounding_box(mask)], "title": name}
        images.append(example)
    captions = [f"says {image['title']}, CH 57" for image in images]
    answers = [{"heatmap": rng.random((4, 4)), "caption": caption, "box": WHOLE} for caption in captions]
    return images, {name: answers for name in RUNS}


def sheet_examples():
    """The same pictures in three views each, as `inspect_dataset.sheet` takes them."""
    for index, example in enumerate(shown_examples()[0]):
        views = {view: (example["image"], np.float32(example["boxes"])) for view in VIEWS}
        masks = dict.fromkeys(VIEWS, example["image"][..., 1]) if index % 2 else {}
        yield {
            **views,
            "masks": masks,
            "title": example["title"],
            "crop": np.array([0.1, 0.1, 0.8, 0.8]),
            "flipped": bool(index % 2),
        }


def text_boxes(figure):
    """`(words, [left, bottom, right, top])` of every text but the numbers on axes, some of which are not drawn."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text().strip() and text.get_visible()]
    named = [text for text in texts if not re.fullmatch(r"[−\d.]+", text.get_text())]
    return [(text.get_text(), text.get_window_extent(renderer).extents) for text in named]


@pytest.mark.slow
def test_no_text_is_over_another_or_over_a_picture(drawn):
    _, found = drawn
    assert {"explanations.png", "curves.png", "reliability.png", "histogram.png", "tradeoff.png", "sheet.png"} == set(
        found
    )
    for name, (figure, boxes) in found.items():
        pictures = [
            (f"picture {i}", axis.images[0].get_window_extent().extents)
            for i, axis in enumerate(figure.axes)
            if axis.images
        ]
        for (text, one), (other, two) in itertools.combinations(boxes + pictures, 2):
            apart = one[2] <= two[0] + 1 or two[2] <= one[0] + 1 or one[3] <= two[1] + 1 or two[3] <= one[1] + 1
            assert apart or (text, other) in pictures or text.startswith("picture"), f"{name}: {text!r} over {other!r}"


def test_no_text_is_cut(drawn):
    """What a figure's edge cuts reaches into the outermost pixels."""
    folder, found = drawn
    for name in found:
        pixels = np.asarray(Image.open(folder / name).convert("L"))
        for edge in (pixels[:2], pixels[-2:], pixels[:, :2], pixels[:, -2:]):
            assert edge.min() > 250, name


def test_every_class_is_named_as_it_is(drawn):
    _, found = drawn
    for name in ("explanations.png", "sheet.png"):
        text = "\n".join(words for words, _ in found[name][1]).replace("\n", "")
        assert name == "sheet.png" or text.count("CH 57") == 12
        assert "cost$of" in text and "\\frac{$" in text
        assert "a class of aircraft with" in text.replace("aircraftwith", "aircraft with") and "…" in text
        assert "红色翅膀的大飞机" in text or lettering.MISSING * 8 in text


def test_pictures_show_something_of_several_classes(drawn):
    _, found = drawn
    for name in ("explanations.png", "sheet.png"):
        shown = [image.get_array() for axis in found[name][0].axes for image in axis.images]
        assert len(shown) == 18 and all(np.std(pixels) > 10 for pixels in shown), name
        assert len({pixels.tobytes() for pixels in shown}) >= 6, name
    for name in ("curves.png", "reliability.png", "histogram.png", "tradeoff.png"):
        assert all(axis.lines for axis in found[name][0].axes)


def test_letters_are_looked_for_in_other_fonts():
    """STIX, which comes with matplotlib, has letters that its usual font does not have."""
    letter = min(lettering._others()["STIXGeneral"] - lettering._own())
    with lettering.styled([f"wing {letter}"]):
        first, second = matplotlib.rcParams["font.family"]
        assert first == lettering.FAMILY and letter in lettering._others()[second]
        assert lettering.fitted(f"wing {letter}", 2, 7) == f"wing {letter}"


def test_letters_of_no_font_are_told_once(capsys):
    for _ in range(2):
        with lettering.styled(["wing \U000f1234"]):  # of the private area
            assert lettering.fitted("wing \U000f1234", 2, 7) == f"wing {lettering.MISSING}"
    assert capsys.readouterr().out.count("note: no installed font has") == 1


@pytest.mark.parametrize(
    ("text", "lines"), [("short", 1), ("two words that go on over a line", 2), ("x" * 200, 2), ("words " * 60, 2)]
)
def test_text_fits(text, lines):
    with lettering.styled([text]):
        fitted = lettering.fitted(text, 1.2, 7)
        assert len(fitted.splitlines()) == lines
        assert all(lettering._width(line, 7) <= 1.21 for line in fitted.splitlines())
    assert ("…" in fitted) == (len(text) > 100) and fitted[-5:] == text.strip()[-5:]
