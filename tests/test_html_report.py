"""The page in a real browser: it shows, sorts, and asks the network for nothing."""

import re
import shutil

import pytest

from cgc_tf import evaluation
from cgc_tf.evaluation import Drawing
from cgc_tf.protocol import Protocol


@pytest.fixture(scope="module")
def file(workdir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    runs = [shutil.copytree(workdir, folder / name) for name in ("first", "second")]
    evaluation.evaluate_runs(runs, Protocol(randomization=2), drawing=Drawing(2), batch_size=12)
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
    assert len(widths) == 2 + 12 * 3 and all(widths)  # charts; twelve examples, each with two runs
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
