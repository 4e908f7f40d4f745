"""The page in a real browser: it shows, sorts, and asks the network for nothing."""

import collections
import csv
import io
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from cgc_tf.evaluation import evaluate
from cgc_tf.evaluation.examples import Drawing
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import confusion
from cgc_tf.report import page as html


@pytest.fixture(scope="module")
def file(workdir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    runs = [shutil.copytree(workdir, folder / name) for name in ("first", "second")]
    evaluate.evaluate(runs, protocol=Protocol(randomization=2), drawing=Drawing(2), batch_size=12)
    return folder / "comparison.html"


@pytest.fixture
def page(file, browser):
    opened = browser.new_page(viewport={"width": 1200, "height": 900})
    opened.faults, opened.requests = [], []
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("console", lambda line: opened.faults.append(line.text))
    opened.on("request", lambda request: opened.requests.append(request.url))
    opened.goto(file.as_uri(), wait_until="load")
    yield opened
    opened.close()


def test_page_needs_nothing_else(file):
    text = file.read_text()
    assert "default-src 'none'" in text
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', text)
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert "http://" not in text and "https://" not in text


def test_page_shows_what_it_should(page, file):
    assert page.faults == []
    assert [url for url in page.requests if not url.startswith("data:")] == [file.as_uri()]
    widths = page.evaluate("[...document.images].map(image => image.naturalWidth)")
    rows = list(csv.DictReader((file.parent / "first" / "per_image.csv").open()))
    shown = [row for row in rows if row["content_heatmap"]]  # those whose heatmap is zero have no place among them
    mistakes = sum(row["label"] != row["predicted"] for row in shown)
    surest = len({(row["label"], row["predicted"]) for row in rows if row["label"] != row["predicted"]})
    # Charts; the examples, each with two runs, and once more with each where they are wrong; a mistake of each kind.
    assert len(widths) == 3 + len(shown) * 3 + 2 * mistakes + 5 * surest and all(widths) and mistakes
    text = page.inner_text("body")
    for expected in ("Paired differences", "Gallery", "Randomization check", "95% bootstrap", "deletion ↓", "ECE ↓"):
        assert expected in text
    order = ["first: 12 pictures are too few to say", "What is taken for what", "most confident mistakes", "Scores"]
    assert sorted(map(text.index, order)) == list(map(text.index, order))
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_page_speaks_to_everyone(page):
    """Every picture has a text of its own kind, every cell of a table a head; what a measure is opens by its name."""
    assert page.evaluate("[...document.images].every(image => image.alt)")
    assert page.evaluate("[...document.querySelectorAll('th')].every(head => head.scope)")
    meaning = page.get_by_text("share of the heatmap inside the object", exact=True)
    assert not meaning.is_visible()
    page.locator("summary", has_text="CH").first.click()
    assert meaning.is_visible()
    colors = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        colors.append(page.evaluate("['color', 'background-color'].map(x => getComputedStyle(document.body)[x])"))
    assert colors[0] != colors[1] and colors[0][0] != colors[0][1] and colors[1][0] != colors[1][1]


def test_charts_are_dark_where_the_page_is(page):
    corners = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        with Image.open(io.BytesIO(page.locator("img.chart").first.screenshot())) as chart:
            corners.append(chart.convert("L").getpixel((20, 3)))
    assert corners[0] > 250 and corners[1] < 40


def test_a_cell_of_the_matrix_shows_its_pictures(page, file):
    rows = list(csv.DictReader((file.parent / "first" / "per_image.csv").open()))
    kinds = collections.Counter((row["label"], row["predicted"]) for row in rows)
    buttons = page.locator("button[data-cell]")
    assert buttons.count() == 2 * len(kinds)
    (label, predicted), count = next(item for item in kinds.items() if item[0][0] != item[0][1])
    told = f"{count} × {label}, answer {predicted}"
    page.get_by_role("button", name=told).nth(1).click()
    assert page.inner_text("#cell h3").startswith(f"second: {told}")
    mine = [row for row in rows if (row["label"], row["predicted"]) == (label, predicted)]
    surest = max(mine, key=lambda row: float(row["probability_of_predicted"]))
    percent = round(100 * float(surest["probability_of_predicted"]))
    assert page.inner_text("#cell p").startswith(f"All: {surest['id']} ({percent}%)")
    drawn = page.locator("#cell figure", has_text=surest["id"])
    assert f"second says {predicted.replace('_', ' ')}, {percent}% sure" in drawn.inner_text()


@pytest.mark.parametrize("key", ["ch0", "ch1", "gain"])
def test_gallery_sorts(page, key):
    page.select_option("#key", key)
    for down in (False, True):
        page.set_checked("#down", down)
        values = page.evaluate(f"[...gallery.children].map(figure => figure.dataset.{key}).filter(Boolean).map(Number)")
        assert len(values) >= 10
        assert values == sorted(values, reverse=down)


@pytest.mark.parametrize("width", [390, 1280])  # pixels of a telephone's and a laptop's window
def test_page_does_not_scroll_sideways(width, file, browser, tmp_path):
    """With names of classes, runs and files that are long, and have no place for a line's end."""
    long = "a-long-name-without-a-space-" * 6
    reports = [json.loads((file.parent / name / "evaluation.json").read_text()) for name in ("first", "second")]
    for report in reports:
        report["name"] = f"{long}{report['name']}"
        report["per_class"] = {f"{long}$cost$": report["per_class"]["red_wings"]}
        report["confusion"] = {f"{long}$cost$": {f"{long}$cost$": 4, f"{long}</script>": 2}}
        found = {**report["background"]["classes"]["red_wings"], "interval": [0.2, 0.6], "difference": 0.4}
        report["background"]["classes"] = {f"{long}$cost$": {**found, "by_background": True}}
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    example = {"image": image, "boxes": [(0.2, 0.2, 0.8, 0.8)], "id": f"{long}.jpg", "title": f"{long}$cost$ 红色翅膀"}
    answer = {"heatmap": np.eye(4), "box": (0, 0, 1, 1), "content_heatmap": 0.5, "caption": f"says {long}"}
    answer |= {"label": long, "predicted": long}
    wrong = {**answer, "mistake": answer}
    answers = {report["name"]: [wrong, answer, answer] for report in reports}
    pictures = {"Content Heatmap": file.parent / "comparison_content_heatmap.png"}
    drawn = [example] * 3, answers
    left = {report["name"]: [{"image": image, "caption": long}] for report in reports}
    cells = {confusion.pair(long, long, "</script>"): [[f"{long}</script>", 0.5]]}
    html.write(tmp_path / "page.html", reports, [], pictures, html.Pictures(drawn, drawn, left, cells))
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto((tmp_path / "page.html").as_uri(), wait_until="load")
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    texts = "[...document.querySelectorAll('figcaption, .row, .row span, dd, h1')]"
    assert page.evaluate(f"{texts}.filter(x => x.scrollWidth > x.clientWidth).map(x => x.textContent)") == []
    assert "$cost$ 红色翅膀" in page.inner_text("#gallery")
    page.close()
