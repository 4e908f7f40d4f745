"""The client, as a class and as a program, over both protocols."""

import json
import os
import re

import cv2
import numpy as np
import odd_pictures
import pytest
from PIL import Image
from toy_model import EXPLANATIONS, PREDICTIONS, assert_same, start

from cgc_tf.common.errors import UserError
from cgc_tf.data import exif
from cgc_tf.data import pictures as picture_reading
from export.client import Client
from export.serving import answers, connections, picture_files

DEAD_PROXIES = {name: "http://127.0.0.1:1" for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy")}


@pytest.mark.parametrize("protocol", ["rest_url", "grpc_url"])
def test_client_gets_what_the_saved_model_answers(server, pictures, expected, protocol):
    client = Client(getattr(server, protocol))
    assert_same(client.explain(pictures), expected, EXPLANATIONS)
    assert_same(client.predict(pictures), expected, PREDICTIONS)


def ask(cwd, *args, status=0):
    """Runs the client to its end, in an environment whose proxies are out of order; returns what it printed."""
    process = start("export.client", *args, cwd=cwd, env=os.environ | DEAD_PROXIES)
    out, err = process.communicate(timeout=180)
    assert process.returncode == status and "Traceback" not in err, err
    return out, err


def test_client_command_line_draws_the_picture_at_its_own_size(server, pictures, tmp_path):
    """And needs no TensorFlow over REST, nor a proxy on this machine."""
    (tmp_path / "tensorflow.py").write_text("raise ImportError('TensorFlow is loaded')")
    (tmp_path / "cat.jpg").write_bytes(pictures[1])
    out, _ = ask(tmp_path, "--image=cat.jpg", f"--url={server.rest_url.replace('127.0.0.1', 'localhost')}")
    assert len(re.findall(r"^ +\d+ +0\.\d{4}  \S$", out, re.MULTILINE)) == 5
    assert "wrote cat-explained.png" in out
    with Image.open(tmp_path / "cat-explained.png") as drawn:
        assert (drawn.format, drawn.size, drawn.mode) == ("PNG", (91, 33), "RGB")


CLIENT_MISTAKES = {
    "absent": (["--image=none.png"], "none.png is not a file"),
    "no server": (["--image=good.png", "--url=http://127.0.0.1:1"], "is the server running"),
    "bad picture": (["--image=bad.png"], "image file format"),
    "unwritable": (["--image=good.png", "--output=no/such/folder.png"], "no/such/folder.png cannot be written"),
    "unwritable answers": (["--image=good.png", "--jsonl=no/such.jsonl"], "no/such.jsonl cannot be written"),
    "full disk": (["--image=good.png", "--jsonl=/dev/full"], "/dev/full cannot be written: No space left"),
}


def test_client_mistakes_are_one_line(server, pictures, tmp_path):
    (tmp_path / "good.png").write_bytes(pictures[0])
    (tmp_path / "bad.png").write_bytes(b"no picture")
    started = {
        name: start("export.client", f"--url={server.rest_url}", *args, cwd=tmp_path)
        for name, (args, _) in CLIENT_MISTAKES.items()
    }
    for name, process in started.items():
        _, err = process.communicate(timeout=60)
        assert (name, process.returncode, len(err.splitlines())) == (name, 2, 1), err
        assert re.search(CLIENT_MISTAKES[name][1], err)


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


def written(root):
    """The answers in all.jsonl, `(file, whether there is an error)`, and the drawings in drawn/."""
    lines = [json.loads(line) for line in (root / "all.jsonl").read_text().splitlines()]
    drawn = {path.relative_to(root / "drawn").as_posix() for path in (root / "drawn").rglob("*.png")}
    return [(line["file"], "error" in line) for line in lines], drawn


def test_a_folder_is_asked_about_as_a_whole(server, pictures, tmp_path):
    """Twice: what was drawn in the folder is not asked about."""
    (tmp_path / "in").mkdir()
    for name, data in zip(("0.png", "1.png", "in/1.jpg", "in/1.png"), [*pictures, b"no picture"], strict=True):
        (tmp_path / name).write_bytes(data)
    args = ["--image=.", "--output=drawn", "--jsonl=all.jsonl", "--batch_size=2"]
    for url in (server.grpc_url, server.rest_url):
        out, err = ask(tmp_path, *args, f"--url={url}", status=2)
        assert err.endswith("1 of 4 pictures were refused\n") and "wrote 3 overlays into drawn" in out
        assert written(tmp_path) == (
            [("0.png", False), ("1.png", False), ("in/1.jpg", False), ("in/1.png", True)],
            {"0.png-explained.png", "1.png-explained.png", "in/1.jpg-explained.png"},
        )
    assert "note: 3 pictures are left out, since they are named *-explained.png" in out


def test_which_pictures_are_found(tmp_path):
    for name in ("0.png", "1.png", "1-explained.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in picture_files.find(f"{tmp_path}/*.png")] == ["0.png", "1.png"]
    assert [path.name for path in picture_files.find(f"{tmp_path}/1-explained.png")] == ["1-explained.png"]
    with pytest.raises(UserError, match=r"\*explained\.png is not a file, nor"):
        picture_files.find(f"{tmp_path}/*explained.png")
    with pytest.raises(UserError, match="cannot be read: File name too long"):
        picture_files.find("a" * 300)


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
    out, err = ask(tmp_path, *args, status=2)
    assert err.endswith("3 of 5 pictures were refused or could not be read\n")
    assert "wrote 2 overlays into drawn" in out
    assert written(tmp_path)[0] == [
        ("a.png", False), ("bad.png", True), ("broken.png", True), ("c.jpg", False), ("pipe.png", True)
    ]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_pictures_are_drawn_as_the_model_sees_them():
    """OpenCV's pixels are TensorFlow's, a JPEG's to within rounding; Pillow draws 16 bits a pixel white."""
    odd = {name: picture.contents for name, picture in odd_pictures.table().items() if not picture.fault}
    bird = odd_pictures.bird()
    for ending in (".bmp", ".png", ".jpg"):
        odd[f"plain{ending}"] = cv2.imencode(ending, np.asarray(bird))[1].tobytes()
    for name, contents in odd.items():
        orientation = exif.orientation(exif.number_in(contents))
        seen = picture_reading.upright(picture_reading.decode_image(contents), orientation).numpy().astype(int)
        drawn = answers.decoded(contents)
        assert drawn.shape == seen.shape, name
        difference = abs(drawn - seen)
        if contents.startswith(b"\xff\xd8"):
            assert difference.mean() < 2 and difference.max() < 16, name
        else:
            assert not difference.any(), name
    for contents in (b"no picture", b""):
        with pytest.raises(UserError, match="cannot be drawn"):
            answers.decoded(contents)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_proxy_on_the_way_is_said(protocol, pictures, monkeypatch):
    for name in ("no_proxy", "NO_PROXY", "grpc_proxy", "https_proxy", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", "http://user:secret@127.0.0.1:1")
    client = Client(f"{protocol}://192.0.2.1:8501", timeout=5, retries=0)  # an address kept for documentation
    with pytest.raises(connections.ServingError, match=r"proxy 127.0.0.1:1; NO_PROXY=192.0.2.1") as caught:
        client.predict(pictures[:1])
    assert "secret" not in str(caught.value)
