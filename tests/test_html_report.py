"""The page in a real browser: it shows, sorts, and asks the network for nothing."""

import re
import shutil
import subprocess

import pytest

from cgc_tf import evaluation
from cgc_tf.protocol import Protocol

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(not BROWSER, reason="no Chromium or Chrome is installed (Debian: chromium)")


@pytest.fixture(scope="module")
def page(workdir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    runs = [shutil.copytree(workdir, folder / name) for name in ("first", "second")]
    evaluation.evaluate_runs(runs, protocol=Protocol(randomization=2), examples=2, batch_size=12)
    return folder / "comparison.html"


def in_browser(page, script="", *options):
    """The page's text as a browser has it after running a script in it."""
    changed = page.with_name("changed.html")
    changed.write_text(page.read_text().replace("</html>", f"<script>{script}</script></html>"))
    command = [BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000", *options]
    done = subprocess.run([*command, "--dump-dom", changed.as_uri()], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_page_needs_nothing_else(page):
    text = page.read_text()
    assert "default-src 'none'" in text
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', text)
    assert sources and all(source.startswith("data:image/") for source in sources)
    assert "http://" not in text and "https://" not in text


@needs_browser
def test_page_shows_what_it_should(page):
    script = (
        "const broken = [...document.images].filter(i => !i.complete || !i.naturalWidth).length;"
        "document.title = `images ${document.images.length} broken ${broken} errors ${window.errors || 0}`;"
    )
    dom = in_browser(page, f"window.onload = () => {{ {script} }}")
    images, broken = map(int, re.search(r"<title>images (\d+) broken (\d+) errors 0</title>", dom).groups())
    assert images == 2 + 12 * 3 and broken == 0  # charts; twelve examples, each with two runs
    for text in ("Paired differences", "Gallery", "Randomization check", "95% bootstrap interval"):
        assert text in dom


@needs_browser
@pytest.mark.parametrize("key", ["ch0", "ch1", "gain"])
@pytest.mark.parametrize("down", [True, False])
def test_gallery_sorts(page, key, down):
    script = (
        f"down.checked = {str(down).lower()}; key.value = '{key}'; key.dispatchEvent(new Event('change'));"
        f"document.title = [...gallery.children].map(f => f.dataset.{key}).join(' ');"
    )
    values = re.search("<title>(.*)</title>", in_browser(page, script))[1].split()
    known = [float(value) for value in values]
    assert len(known) >= 10
    assert known == sorted(known, reverse=down)
