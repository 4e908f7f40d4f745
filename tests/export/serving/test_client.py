"""The client, as a class and as a program, over both protocols."""

import json
import os
import re

import numpy as np
import pytest
from PIL import Image
from toy_model import EXPLANATIONS, PREDICTIONS, ROOT, assert_same, start

from cgc_tf.common.errors import UserError
from export.client import Client, find
from export.serving import answers, connections


@pytest.mark.parametrize("protocol", ["rest_url", "grpc_url"])
def test_client_gets_what_the_saved_model_answers(server, pictures, expected, protocol):
    client = Client(getattr(server, protocol))
    assert_same(client.explain(pictures), expected, EXPLANATIONS)
    assert_same(client.predict(pictures), expected, PREDICTIONS)


def test_client_command_line_draws_the_picture_at_its_own_size(server, pictures, tmp_path):
    (tmp_path / "cat.jpg").write_bytes(pictures[1])
    process = start("export.client", "--image=cat.jpg", f"--url={server.rest_url}", cwd=tmp_path)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 0, err
    assert len(re.findall(r"^ +\d+ +0\.\d{4}  \S$", out, re.MULTILINE)) == 5
    assert "wrote cat-explained.png" in out
    with Image.open(tmp_path / "cat-explained.png") as drawn:
        assert (drawn.format, drawn.size, drawn.mode) == ("PNG", (91, 33), "RGB")


CLIENT_MISTAKES = {
    "no such file": (["--image=none.png"], "none.png"),
    "no server": (["--image=good.png", "--url=http://127.0.0.1:1"], "is the server running"),
    "bad picture": (["--image=bad.png"], "image file format"),
    "unwritable": (["--image=good.png", "--output=no/such/folder.png"], "folder.png"),
}


@pytest.mark.parametrize(("args", "match"), CLIENT_MISTAKES.values(), ids=CLIENT_MISTAKES)
def test_client_mistakes_are_one_line(server, pictures, tmp_path, args, match):
    (tmp_path / "good.png").write_bytes(pictures[0])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    process = start("export.client", f"--url={server.rest_url}", *args, cwd=tmp_path)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "Traceback" not in err
    assert re.search(match, err.strip())
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("protocol", ["rest_url", "grpc_url"])
def test_client_says_what_the_server_refused(server, pictures, protocol):
    url = getattr(server, protocol)
    with pytest.raises(UserError, match=r"(404|NOT_FOUND): no model other"):
        Client(url, "other").explain(pictures)
    with pytest.raises(UserError, match=r"(400|FAILED_PRECONDITION): no signature nope"):
        Client(url).predict(pictures, "nope")
    with pytest.raises(UserError, match=r"(400|INVALID_ARGUMENT): Unknown image file format"):
        Client(url).explain([b"no picture"])


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "grpc://127.0.0.1:1", "127.0.0.1:8501"])
def test_client_without_a_server_is_a_user_error(pictures, url):
    with pytest.raises(UserError, match=url):
        Client(url).explain(pictures)


def test_failures_have_names(server, pictures):
    for url in (server.rest_url, server.grpc_url):
        with pytest.raises(connections.UnknownModel):
            Client(url, "other").predict(pictures)
        with pytest.raises(connections.UnknownModel):
            Client(url, version=3).predict(pictures)
        with pytest.raises(connections.UnknownModel):
            Client(url, label="stable").predict(pictures)
        with pytest.raises(connections.UnknownSignature):
            Client(url).predict(pictures, "nope")
        with pytest.raises(connections.BadRequest):
            Client(url).predict([b"no picture"])
        with pytest.raises(connections.DeadlineExceeded):
            Client(url, timeout=1e-6).predict(pictures[:1] * 60)  # a timeout is a whole millisecond at least
    with pytest.raises(connections.ServerDown):
        Client("http://127.0.0.1:1", retries=0).predict(pictures)


def test_only_a_server_that_is_down_is_asked_again(monkeypatch):
    monkeypatch.setattr(connections, "WAIT", 0)
    faults = [connections.ServerDown("down"), connections.ServerDown("down"), None]

    def send():
        fault = faults.pop(0)
        if fault:
            raise fault
        return "answer"

    assert connections.retrying(send, 2)() == "answer"
    faults = [connections.BadRequest("bad"), None]
    with pytest.raises(connections.BadRequest):
        connections.retrying(send, 2)()
    assert len(faults) == 1


def test_a_stream_keeps_order_and_sets_bad_pictures_apart(server, pictures):
    images = [*enumerate([*pictures, b"no picture", *pictures])]
    answers = list(Client(server.rest_url).stream(images, batch_size=2, in_flight=2))
    assert [key for key, _, _ in answers] == [*range(7)]
    assert [error is None for _, _, error in answers] == [True] * 3 + [False] + [True] * 3
    assert answers[0][1]["label"] == answers[4][1]["label"]


def test_a_batch_of_large_pictures_is_sent_before_it_is_full(server, pictures, monkeypatch):
    monkeypatch.setattr("export.client.BATCH_BYTES", len(pictures[0]) + len(pictures[1]) - 1)
    client, sizes = Client(server.rest_url), []
    predict = client.predict
    monkeypatch.setattr(client, "predict", lambda images, name: sizes.append(len(images)) or predict(images, name))
    assert len(list(client.stream(enumerate(pictures), batch_size=3, in_flight=1))) == 3
    assert sizes == [2, 1]


def test_class_asked_for(server, pictures, expected):
    for url in (server.rest_url, server.grpc_url):
        answer = Client(url).explain(pictures, class_ids=[3, 3, 3])
        assert abs(answer["heatmap"] - expected["heatmap"] / 2).max() < 1e-6


def test_a_folder_is_asked_about_as_a_whole(server, pictures, tmp_path):
    (tmp_path / "in").mkdir()
    for name, data in zip(("0.png", "1.png", "in/1.jpg", "in/1.png"), [*pictures, b"no picture"], strict=True):
        (tmp_path / name).write_bytes(data)
    assert [path.name for path in find(f"{tmp_path}/[01].png")] == ["0.png", "1.png"]
    args = ["--image=.", f"--url={server.grpc_url}", "--output=drawn", "--jsonl=all.jsonl", "--batch_size=2"]
    process = start("export.client", *args, cwd=tmp_path)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 2 and err.endswith("1 of 4 pictures were refused\n")
    assert "wrote 3 overlays into drawn" in out
    drawn = {path.relative_to(tmp_path / "drawn").as_posix() for path in (tmp_path / "drawn").rglob("*.png")}
    assert drawn == {f"{name}-explained.png" for name in ("0.png", "1.png", "in/1.jpg")}
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert [("error" in line, line["file"]) for line in lines] == [
        (name == "in/1.png", name) for name in ("0.png", "1.png", "in/1.jpg", "in/1.png")
    ]


def test_a_failure_belongs_to_its_file(server, pictures, tmp_path):
    """Hidden files are no pictures; what cannot be read or decoded is counted, and the others are answered."""
    files = {"a.png": pictures[0], "bad.png": b"no picture", "c.jpg": pictures[1], "._c.jpg": b"a resource fork"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    for hidden in (".cache", "@eaDir", "folder.jpg"):
        (tmp_path / hidden).mkdir()
    (tmp_path / "@eaDir/c.jpg").write_bytes(pictures[1])
    (tmp_path / "broken.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "pipe.png")
    args = ["--image=.", f"--url={server.rest_url}", "--output=drawn", "--jsonl=all.jsonl", "--batch_size=3"]
    process = start("export.client", *args, cwd=tmp_path)
    out, err = process.communicate(timeout=180)
    assert process.returncode == 2 and err.endswith("3 of 5 pictures were refused or could not be read\n")
    assert "Traceback" not in err and "wrote 2 overlays into drawn" in out
    lines = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    names = ["a.png", "bad.png", "broken.png", "c.jpg", "pipe.png"]
    assert [("error" in line, line["file"]) for line in lines] == list(
        zip([False, True, True, False, True], names, strict=True)
    )


def test_pictures_are_drawn_as_the_model_sees_them(tmp_path):
    """16 bits a pixel by their upper eight, and turned by the same rule; Pillow made the first white."""
    cold = {"heatmap": np.zeros([7, 7], np.float32), "heatmap_box": [0, 0, 1, 1]}
    for name, size, mean in (("gray16.png", (86, 128), 107), ("exif6_long_mm.jpg", (128, 86), None)):
        data = (ROOT / "tests/testdata/cases" / name).read_bytes()
        answers.draw(data, cold, tmp_path / "drawn.png")
        with Image.open(tmp_path / "drawn.png") as drawn:
            assert drawn.size == size
            assert mean is None or abs(np.mean(drawn) - mean) < 8
    with pytest.raises(UserError, match="cannot be drawn"):
        answers.draw(b"no picture", cold, tmp_path / "drawn.png")


def test_no_proxy_stands_before_this_machine(server, pictures, tmp_path):
    (tmp_path / "cat.png").write_bytes(pictures[0])
    proxies = {name: "http://127.0.0.1:1" for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")}
    for url in (server.rest_url.replace("127.0.0.1", "localhost"), server.grpc_url):
        process = start(
            "export.client", "--image=cat.png", f"--url={url}", cwd=tmp_path, env=dict(os.environ) | proxies
        )
        _, err = process.communicate(timeout=180)
        assert process.returncode == 0, err


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_proxy_on_the_way_is_said(protocol, pictures, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "grpc_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:1")
    client = Client(f"{protocol}://192.0.2.1:8501", timeout=5, retries=0)  # an address kept for documentation
    with pytest.raises(connections.ServingError, match=r"proxy 127.0.0.1:1; NO_PROXY=192.0.2.1") as caught:
        client.predict(pictures[:1])
    assert "secret" not in str(caught.value)
