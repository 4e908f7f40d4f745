"""The page in a real browser: it shows, sorts, and asks the network for nothing."""

import csv
import json
import re
import shutil

import numpy as np
import pytest

from cgc_tf.evaluation import evaluate
from cgc_tf.evaluation.examples import Drawing
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import page as html


@pytest.fixture(scope="module")
def file(workdir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    runs = [shutil.copytree(workdir, folder / name) for name in ("first", "second")]
    evaluate.evaluate(runs, protocol=Protocol(randomization=2), drawing=Drawing(2), batch_size=12)
    return folder / "comparison.html"


@pytest.fixture(scope="module")
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
    # Charts; the examples, each with two runs, and once more with each where they are wrong.
    assert len(widths) == 2 + len(shown) * 3 + 2 * mistakes and all(widths) and mistakes
    text = page.inner_text("body")
    for expected in ("Paired differences", "Gallery", "Randomization check", "95% bootstrap", "deletion ↓"):
        assert expected in text
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


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
    image = np.random.default_rng(0).integers(0, 256, (60, 90, 3), np.uint8)
    example = {"image": image, "boxes": [(0.2, 0.2, 0.8, 0.8)], "id": f"{long}.jpg", "title": f"{long}$cost$ 红色翅膀"}
    answer = {"heatmap": np.eye(4), "box": (0, 0, 1, 1), "content_heatmap": 0.5, "caption": f"says {long}"}
    wrong = {**answer, "mistake": answer}
    answers = {report["name"]: [wrong, answer, answer] for report in reports}
    pictures = {"Content Heatmap": file.parent / "comparison_content_heatmap.png"}
    html.write(tmp_path / "page.html", reports, [], pictures, [example] * 3, answers)
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto((tmp_path / "page.html").as_uri(), wait_until="load")
    page.evaluate("document.querySelector('details').open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    texts = "[...document.querySelectorAll('figcaption, .row, .row span, dd, h1')]"
    assert page.evaluate(f"{texts}.filter(x => x.scrollWidth > x.clientWidth).map(x => x.textContent)") == []
    assert "$cost$ 红色翅膀" in page.inner_text("#gallery")
    page.close()
