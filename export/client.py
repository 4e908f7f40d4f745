"""Asks a served model about pictures, over REST or gRPC, prints a table and draws what it answers.

    python -m export.client --image=cat.jpg --url=grpc://127.0.0.1:8500
    python -m export.client --image=DIR --output=overlays --jsonl=answers.jsonl      # or --image='DIR/*.jpg'

Works with `export.server` and with TensorFlow Serving alike.
"""

import collections
import contextlib
import glob
import json
import os
import pathlib
from concurrent import futures

import numpy as np
from absl import flags
from tqdm import tqdm

from cgc_tf.common.errors import UserError, run
from cgc_tf.data import listing

from .serving import answers, connections
from .serving.connections import BadRequest

ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp")
BATCH_BYTES = 16 << 20  # a batch with more is sent before it is full: servers take about 64 MiB, as base64
URL, FOLDER = "http://127.0.0.1:8501", "explained"


class Client:
    """One model on a server.

    Its methods raise a `transports.ServingError`, which is a `UserError`: `ServerDown`, `UnknownModel` (or version or
    label), `UnknownSignature`, `BadRequest` (a picture that cannot be decoded, too), `DeadlineExceeded`.

    Args:
        url: http://, https:// or grpc://.
        model: its name there.
        version, label: which of its versions; the newest by default.
        timeout: seconds to wait for an answer.
        retries: how often to try again when the server is down or too busy; no other failure is tried again.
    """

    def __init__(self, url=URL, model="cgc", timeout=60.0, version=None, label=None, retries=2):
        self._send = connections.retrying(connections.connect(url, model, version, label, timeout), retries)

    def explain(self, images, class_ids=None):
        """`predict` with heatmaps, of given classes, int `[n]`, or of the predicted ones:

        `heatmap` float32 `[n, h, w]` in 0..1, and `heatmap_box` float32 `[n, 4]`, the part of each picture that its
        heatmap covers, as fractions (ymin, xmin, ymax, xmax).
        """
        if class_ids is None:
            return self.predict(images, "explain")
        return self.predict(images, "explain_class", class_id=np.asarray(class_ids, np.int32))

    def predict(self, images, signature="serving_default", **more):
        """Sends encoded pictures, a list of n `bytes`, and further inputs; returns a dict of numpy arrays:

        `probabilities` float32 `[n, classes]`, `class_id` int32, `score` float32 and `label` str `[n]`, and the
        five best of them, `top5_...` `[n, 5]`.
        """
        return self._send(images, signature, more)

    def stream(self, images, signature="explain", batch_size=8, in_flight=4):
        """Asks about many pictures, several requests at a time, in order.

        Args:
            images: an iterable of `(key, bytes)`, or `(key, OSError)` of a file that could not be read; it is read
                only as far as requests are sent.
            signature, batch_size, in_flight: of each request, most pictures in it, and requests at a time.

        Yields:
            `(key, answer, error)`: `answer` a dict of arrays without the batch's dimension, or None and a `BadRequest`
            or the `OSError`.
        """
        waiting, batch = collections.deque(), []
        with futures.ThreadPoolExecutor(in_flight) as pool:
            for item in images:
                batch.append(item)
                if len(batch) == batch_size or sum(map(_bytes_of, batch)) > BATCH_BYTES:
                    waiting.append(pool.submit(self._batch, batch, signature))
                    batch = []
                if len(waiting) > in_flight:
                    yield from waiting.popleft().result()
            if batch:
                waiting.append(pool.submit(self._batch, batch, signature))
            while waiting:
                yield from waiting.popleft().result()

    def _batch(self, batch, signature):
        """The answers to a batch's items, in order; those that could not be read are not sent."""
        sent = [item for item in batch if isinstance(item[1], bytes)]
        answered = iter(self._answered(sent, signature) if sent else ())
        return [next(answered) if isinstance(data, bytes) else (key, None, data) for key, data in batch]

    def _answered(self, batch, signature):
        try:
            columns = self.predict([data for _, data in batch], signature)
            rows = [{name: column[i] for name, column in columns.items()} for i in range(len(batch))]
            return [_judged(key, row) for (key, _), row in zip(batch, rows, strict=True)]
        except BadRequest as error:
            if len(batch) == 1:
                return [(batch[0][0], None, error)]
            # One bad picture refuses its batch: alone, the others are answered.
            return [answer for item in batch for answer in self._answered([item], signature)]


def _bytes_of(item):
    _, data = item
    return len(data) if isinstance(data, bytes) else 0


def _judged(key, answer):
    """An item of `Client.stream`: a blank answer (--on_bad_image=blank) is as good as a refusal."""
    if answer.get("class_id") == -1 or answer.get("overlay_png_bytes") == b"":
        return key, None, BadRequest("a blank answer: no picture that the server can decode")
    return key, answer, None


def find(pattern):
    """The pictures, sorted paths, of a file's name, a folder (and the folders in it) or a glob.

    Hidden files of a folder, such as a Mac's `._x.jpg`, and what lies in hidden and system folders are no pictures.

    Raises:
        UserError: there is none.
    """
    path = pathlib.Path(pattern)
    if path.is_dir():
        found = sorted(entry for entry in path.rglob("*") if _is_picture(entry.relative_to(path)))
    elif path.exists():
        found = [path]
    else:
        found = sorted(map(pathlib.Path, glob.glob(pattern, recursive=True)))
    found = [entry for entry in found if not entry.is_dir()]
    if not found:
        raise UserError(
            f"--image={pattern}: no such file, no folder with pictures ({', '.join(ENDINGS)}), no glob of any"
        )
    return found


def _is_picture(path):
    return path.suffix.lower() in ENDINGS and not any(map(listing.is_system, path.parts))


def _read(path):
    """A file's bytes; or the `OSError` instead, since it is that file's alone."""
    try:
        if path.exists() and not path.is_file():
            return OSError(f"{path} is not a file")  # a pipe would be waited for
        return path.read_bytes()
    except OSError as error:
        return error


def ask(args, paths):
    """Asks about every path, prints a row for each and writes what was asked for; returns the errors there were."""
    client = Client(args.url, args.model, args.timeout, args.version, args.label, args.retries)
    contents = (((path, data), data) for path, data in ((path, _read(path)) for path in paths))
    answered = client.stream(contents, args.signature, args.batch_size, args.in_flight)
    is_only, width, failures, written = len(paths) == 1, max(len(_shown(path)) for path in paths), [], 0
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(pathlib.Path(args.jsonl).open("w")) if args.jsonl else None
        for (path, data), answer, error in tqdm(
            answered, "asking", len(paths), unit="image", leave=False, disable=None
        ):
            if answer and {"heatmap", "overlay_png_bytes"} & set(answer):
                output = _output(args.output, path, paths)
                try:
                    answers.draw(data, answer, output)
                    written += 1
                except UserError as undrawn:
                    answer, error = None, undrawn
            if error and is_only:
                raise error
            failures += [error] if error else []
            text = (
                getattr(error, "strerror", None) or str(error) if error else answers.summary(answer, with_best=is_only)
            )
            tqdm.write(text if is_only else f"{_shown(path):<{width}}  {text}")
            if lines:
                lines.write(json.dumps(answers.plain(path, answer, error)) + "\n")
        if written:
            print(f"wrote {output}" if is_only else f"wrote {written} overlays into {args.output or FOLDER}")
        elif not failures:
            print(f"no picture written: {args.signature} answers without a heatmap")
    return failures


def _shown(path):
    """A path as one line of text, whatever is in it."""
    text = str(path)
    return text if text.isprintable() else ascii(text)


def _output(given, path, paths):
    if len(paths) == 1:
        return pathlib.Path(given or f"{path.stem}-explained.png")
    # As they lie in their folders, endings kept: DIR/a/0.jpg, DIR/a/0.png and DIR/b/0.jpg.
    common = os.path.commonpath([one.parent for one in paths])
    folder = pathlib.Path(given or FOLDER) / path.parent.relative_to(common)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{path.name}-explained.png"


def _define_flags():
    flags.DEFINE_string("image", None, "the pictures to ask about: a file, a folder, or a glob in quotes")
    flags.DEFINE_string("url", URL, "the server; grpc://HOST:PORT for gRPC")
    flags.DEFINE_string("model", "cgc", "name of the model on the server")
    flags.DEFINE_integer("version", None, "the model's version; default: the newest")
    flags.DEFINE_string("label", None, "the version's label, such as stable")
    flags.DEFINE_string(
        "signature", "explain", "serving_default answers without a heatmap, explain_checked with consistency"
    )
    flags.DEFINE_string(
        "output", None, "PNG to write (default: <image's name>-explained.png), or for several their folder"
    )
    flags.DEFINE_string("jsonl", None, "file to write the answers to, one JSON object a line")
    flags.DEFINE_integer("batch_size", 8, "pictures in a request", lower_bound=1)
    flags.DEFINE_integer("in_flight", 4, "requests at a time", lower_bound=1)
    flags.DEFINE_float("timeout", 60.0, "seconds to wait for an answer", lower_bound=0)
    flags.DEFINE_integer("retries", 2, "further attempts when the server is down or too busy", lower_bound=0)


def main(_):
    """Asks about the pictures; ends with status 2 where one was refused or could not be read."""
    args = flags.FLAGS
    if args.image is None:
        raise UserError("--image is missing: the picture, folder or glob to ask about")
    if args.version is not None and args.label:
        raise UserError(f"--label={args.label} is not used by --version={args.version}: leave one of them out")
    paths = find(args.image)
    if args.url.startswith("grpc"):
        import cgc_tf.common.quiet_tensorflow  # noqa: F401  # gRPC's stubs load TensorFlow
    try:
        failures = ask(args, paths)
    except OSError as error:  # the message names the file
        raise UserError(str(error)) from error
    if failures:
        unread = " or could not be read" if any(isinstance(error, OSError) for error in failures) else ""
        raise UserError(f"{len(failures)} of {len(paths)} pictures were refused{unread}")


if __name__ == "__main__":
    _define_flags()
    run(main)
