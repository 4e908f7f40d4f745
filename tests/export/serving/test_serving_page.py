"""The page, in a real browser: a picture in, classes and a heatmap out, another class, another opacity."""

import io

import pytest
from PIL import Image
from playwright import sync_api


@pytest.fixture
def page(server, browser):
    opened = browser.new_page(viewport={"width": 1000, "height": 760})
    opened.faults = []
    opened.on("pageerror", lambda error: opened.faults.append(str(error)))
    opened.on("console", lambda line: opened.faults.append(line.text) if "Security" in line.text else None)
    opened.goto(server.rest_url)
    yield opened
    opened.close()


def drop(page, name, data):
    page.set_input_files("#file", {"name": name, "mimeType": "image/png", "buffer": data})


def drawn(page):
    return page.evaluate("document.getElementById('canvas').toDataURL()")


def test_a_picture_is_explained(page, pictures, expected):
    drop(page, "cat.png", pictures[0])
    page.wait_for_selector("#classes button")
    names = page.locator("#classes button").all_inner_texts()
    assert [name.split("\n")[0] for name in names] == expected["top5_label"][0].tolist()
    assert page.locator("#classes button[aria-pressed=true]").count() == 1
    assert page.evaluate("[canvas.width, canvas.height]") == [40, 60]
    predicted = drawn(page)

    with page.expect_response("**/v1/models/cgc:predict"):
        page.select_option("#class", label="b")
    sync_api.expect(page.locator("#message")).to_have_text("")
    other = drawn(page)
    assert other != predicted

    page.fill("#opacity", "0")
    plain = drawn(page)
    assert plain not in (predicted, other)
    # Without opacity the canvas is the picture itself.
    stored = page.evaluate(
        "(async () => { const c = document.createElement('canvas'); c.width = canvas.width; c.height = canvas.height;"
        "c.getContext('2d').drawImage(shown.picture, 0, 0); return c.toDataURL(); })()"
    )
    assert plain == stored
    assert page.faults == []


def test_a_picture_is_shown_as_exif_turns_it(page):
    exif, stream = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    Image.new("RGB", (50, 20), "red").save(stream, "JPEG", exif=exif)
    drop(page, "telephone.jpg", stream.getvalue())
    sync_api.expect(page.locator("#canvas")).to_have_attribute("width", "20")
    sync_api.expect(page.locator("#canvas")).to_have_attribute("height", "50")
    assert page.faults == []


def test_what_is_no_picture_is_said(page):
    drop(page, "notes.png", b"no picture")
    sync_api.expect(page.locator("#message")).to_contain_text("notes.png is no picture")
    assert page.faults == []


def test_a_blank_answer_is_said(page, pictures):
    """What a version exported with --on_bad_image=blank answers to a picture that only the browser can decode."""
    page.route("**/v1/models/cgc:predict", lambda route: route.fulfill(json={"outputs": {"class_id": [-1]}}))
    drop(page, "cat.webp", pictures[0])
    sync_api.expect(page.locator("#message")).to_contain_text("no JPEG, PNG, GIF, BMP or WebP picture")
    page.unroute("**/v1/models/cgc:predict")
    assert page.faults == []
