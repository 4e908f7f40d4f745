"""The callers of docs/serving.md, as they stand there: `curl`, Python and a web page, without this package."""

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from PIL import Image
from playwright import sync_api
from toy_model import EXPLANATIONS, ROOT

from export.serving.loopback import Server
from export.serving.versions import Model


@pytest.fixture(scope="module")
def open_server(model_dir):
    """A server that pages of other origins may ask."""
    with Server(Model(model_dir), cors=True) as running:
        yield running


@pytest.fixture
def example(open_server, pictures, tmp_path):
    """`example(language)`: docs/serving.md's first code in a language, asking the test's server about `cat.jpg`."""
    (tmp_path / "cat.jpg").write_bytes(pictures[1])
    text = (ROOT / "docs/serving.md").read_text()

    def code(language):
        found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)[1]
        assert "http://127.0.0.1:8501" in found
        return found.replace("http://127.0.0.1:8501", open_server.rest_url)

    return code


def test_curl(example, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    run = subprocess.run(["sh", "-c", example("sh")], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert set(json.loads(run.stdout)["outputs"]) == EXPLANATIONS


def test_the_answer_that_is_shown_has_the_outputs_of_an_answer():
    text = re.search(r"```json\n(.*?)```", (ROOT / "docs/serving.md").read_text(), re.DOTALL)[1]
    assert set(json.loads(text)["outputs"]) == EXPLANATIONS


def redder(drawn, picture):
    """By how much a drawing is redder than the picture: an array, of the picture's size."""
    change = np.asarray(drawn.convert("RGB"), float) - np.asarray(picture.convert("RGB"), float)
    return change[..., 0] - change[..., 1:].mean(-1)


def test_python(example, expected, tmp_path):
    run = subprocess.run([sys.executable, "-c", example("python")], cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split()[0] == expected["label"][1]
    with Image.open(tmp_path / "explained.png") as drawn, Image.open(tmp_path / "cat.jpg") as picture:
        assert drawn.size == picture.size
        change = redder(drawn, picture)
    # Only the part that the heatmap covers, which is the middle half of the columns here.
    assert abs(change[:, :22]).max() == 0 == abs(change[:, 69:]).max() and change[:, 23:68].mean() > 10


def test_a_web_page_of_another_origin(example, expected, browser, tmp_path):
    (tmp_path / "index.html").write_text(example("html"))
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, daemon=True).start()
        page, faults = browser.new_page(), []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(f"http://127.0.0.1:{site.server_port}/")
        page.set_input_files("#file", tmp_path / "cat.jpg")
        sync_api.expect(page.locator("#label")).to_contain_text(expected["label"][1])
        page.locator("#canvas").screenshot(path=tmp_path / "page.png")
        page.close()
        site.shutdown()
    with Image.open(tmp_path / "page.png") as drawn, Image.open(tmp_path / "cat.jpg") as picture:
        assert drawn.size == picture.size
        change = redder(drawn, picture)
    assert not faults
    assert abs(change[:, :21]).max() < 8 and change[:, 25:66].mean() > 10
