"""Asks a served model about pictures, over REST or gRPC, prints a table and draws what it answers.

    python -m export.client --image=cat.jpg --url=grpc://127.0.0.1:8500
    python -m export.client --image=DIR --output=overlays --jsonl=answers.jsonl      # or --image='DIR/*.jpg'

Works with `export.server` and with TensorFlow Serving alike.
"""

import collections
import contextlib
import dataclasses
import json
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent import futures

import numpy as np
from absl import flags
from tqdm import tqdm

from cgc_tf.common import files, program
from cgc_tf.common.errors import UserError

from .serving import answers, connections, picture_files
from .serving.connections import BadRequest

BATCH_BYTES = 16 << 20  # a batch with more is sent before it is full: servers take about 64 MiB, as base64
URL = "http://127.0.0.1:8501"


@dataclasses.dataclass
class Client:
    """One model on a server.

    Its methods raise a `connections.ServingError`, which is a `UserError`: `ServerDown`, `UnknownModel` (or version or
    label), `UnknownSignature`, `BadRequest` (a picture that cannot be decoded, too), `DeadlineExceeded`.

    Args:
        url: http://, https:// or grpc://.
        model: its name there.
        version: which of its versions; the newest by default.
        label: which of its versions, by its label.
        timeout: seconds to wait for an answer.
        retries: how often to try again when the server is down or too busy; no other failure is tried again.
    """

    url: str = URL
    model: str = "cgc"
    timeout: float = 60.0
    version: int | None = None
    label: str | None = None
    retries: int = 2

    def __post_init__(self):
        connection = connections.connect(self.url, self.model, self.version, self.label, self.timeout)
        self._send = connections.retrying(connection, self.retries)

    def explain(self, images: list[bytes], class_ids: Sequence[int] | None = None) -> dict[str, np.ndarray]:
        """`predict` with heatmaps, of given classes, int `[n]`, or of the predicted ones:

        `heatmap` float32 `[n, h, w]` in 0..1, and `heatmap_box` float32 `[n, 4]`, the part of each picture that its
        heatmap covers, as fractions (ymin, xmin, ymax, xmax).
        """
        if class_ids is None:
            return self.predict(images, "explain")
        return self.predict(images, "explain_class", class_id=np.asarray(class_ids, np.int32))

    def predict(self, images: list[bytes], signature: str = "serving_default", **more) -> dict[str, np.ndarray]:
        """Sends encoded pictures, a list of n `bytes`, and further inputs; returns a dict of numpy arrays:

        `probabilities` float32 `[n, classes]`, `class_id` int32, `score` float32 and `label` str `[n]`, and the
        five best of them, `top5_...` `[n, 5]`.
        """
        return self._send(images, signature, more)

    def stream(
        self, images: Iterable[tuple], signature: str = "explain", batch_size: int = 8, in_flight: int = 4
    ) -> Iterator[tuple]:
        """Asks about many pictures, several requests at a time, in order.

        Args:
            images: an iterable of `(key, bytes)`, or `(key, OSError)` of a file that could not be read; it is read
                only as far as requests are sent.
            signature: of each request.
            batch_size: the most pictures in a request.
            in_flight: requests at a time.

        Yields:
            `(key, answer, error)`: `answer` a dict of arrays without the batch's dimension, or None and a `BadRequest`
            or the `OSError`.
        """
        waiting, batch = collections.deque(), []
        with futures.ThreadPoolExecutor(in_flight) as pool:
            for item in images:
                batch.append(item)
                size = sum(len(data) for _, data in batch if isinstance(data, bytes))
                if len(batch) == batch_size or size > BATCH_BYTES:
                    waiting.append(pool.submit(self._batch, batch, signature))
                    batch = []
                if len(waiting) > in_flight:
                    yield from waiting.popleft().result()
            if batch:
                waiting.append(pool.submit(self._batch, batch, signature))
            while waiting:
                yield from waiting.popleft().result()

    def _batch(self, batch, signature):
        """What `stream` yields of a batch's items; those that could not be read are not sent."""
        images = [data for _, data in batch if isinstance(data, bytes)]
        answers = iter(self._answered(images, signature) if images else ())
        return [(key, *(next(answers) if isinstance(data, bytes) else (None, data))) for key, data in batch]

    def _answered(self, images, signature):
        """`(answer, error)` of each picture; a blank answer (--on_bad_image=blank) is as good as a refusal."""
        try:
            columns = self.predict(images, signature)
        except BadRequest as error:
            if len(images) == 1:
                return [(None, error)]
            # One bad picture refuses its batch: alone, the others are answered.
            return [answer for image in images for answer in self._answered([image], signature)]
        rows = [{name: column[i] for name, column in columns.items()} for i in range(len(images))]
        blank = BadRequest("a blank answer: no picture that the server can decode")
        return [(None, blank) if _is_blank(row) else (row, None) for row in rows]


def _is_blank(answer):
    return answer.get("class_id") == -1 or answer.get("overlay_png_bytes") == b""


def ask(args: flags.FlagValues, paths: list[pathlib.Path]) -> list[Exception]:
    """Asks about every path, prints a line for each and writes what was asked for; returns the errors there were.

    Raises:
        UserError: a file cannot be written, the server does not answer, or the only picture is refused.
    """
    client = Client(args.url, args.model, args.timeout, args.version, args.label, args.retries)
    contents = (((path, data), data) for path, data in ((path, picture_files.read(path)) for path in paths))
    answered = client.stream(contents, args.signature, args.batch_size, args.in_flight)
    bar = tqdm(answered, "asking", len(paths), unit="image", leave=False, disable=None)
    is_only, width = len(paths) == 1, max(len(picture_files.printable(path)) for path in paths)
    failures, written = [], []
    with contextlib.ExitStack() as stack:
        stack.enter_context(files.reported(f"--jsonl={args.jsonl}"))
        lines = stack.enter_context(pathlib.Path(args.jsonl).open("w", encoding="utf-8")) if args.jsonl else None
        for (path, data), answer, error in bar:
            drawing = None
            if answer:
                try:
                    drawing = answers.drawing(data, answer)
                except UserError as undrawn:
                    answer, error = None, undrawn
            if error:
                failures.append(error)
                if is_only:
                    raise error
            if drawing is not None:
                written.append(picture_files.drawing_path(path, paths, args.output))
                with files.reported(written[-1]):
                    if not is_only:  # the folder of several is this program's to make
                        written[-1].parent.mkdir(parents=True, exist_ok=True)
                    files.write(written[-1], drawing)
            reason = getattr(error, "strerror", None) or str(error)
            text = answers.summary(answer, with_best=is_only) if answer else reason
            tqdm.write(text if is_only else f"{picture_files.printable(path):<{width}}  {text}")
            if lines:
                lines.write(json.dumps(answers.as_json(path, answer, error)) + "\n")
    if written and is_only:
        print(f"wrote {written[0]}")
    elif written:
        print(f"wrote {len(written)} overlays into {args.output or picture_files.FOLDER}")
    elif not failures:
        print(f"no picture written: {args.signature} answers without a heatmap")
    return failures


def define_flags():
    """Defines the flags: what to ask, and whom."""
    flags.DEFINE_string("image", None, "The pictures to ask about: a file, a folder, or a pattern in quotes.")
    flags.DEFINE_string("url", URL, "The server; grpc://HOST:PORT for gRPC.")
    flags.DEFINE_string("model", "cgc", "Name of the model on the server.")
    flags.DEFINE_integer("version", None, "The model's version (default: the newest).")
    flags.DEFINE_string("label", None, "The version's label, such as stable.")
    flags.DEFINE_string(
        "signature", "explain", "What to ask for: serving_default has no heatmap, explain_checked has consistency, too."
    )
    flags.DEFINE_string(
        "output", None, "PNG to write (default: <image's name>-explained.png); for several pictures, a folder."
    )
    flags.DEFINE_string("jsonl", None, "File to write the answers to, one JSON object a line.")
    flags.DEFINE_integer("batch_size", 8, "Pictures in a request.", lower_bound=1)
    flags.DEFINE_integer("in_flight", 4, "Requests at a time.", lower_bound=1)
    flags.DEFINE_float("timeout", 60.0, "Seconds to wait for an answer.", lower_bound=0)
    flags.DEFINE_integer("retries", 2, "Further attempts when the server is down or too busy.", lower_bound=0)


def main(_):
    """Asks about the pictures; ends with status 2 where one was refused or could not be read."""
    args = flags.FLAGS
    if args.image is None:
        raise UserError("--image is missing: the picture, folder or pattern to ask about")
    if args.version is not None and args.label:
        raise UserError(f"--label={args.label} is not used by --version={args.version}: leave one of them out")
    paths = picture_files.find(args.image)
    if args.url.startswith("grpc"):
        import cgc_tf.common.quiet_tensorflow  # noqa: F401  # gRPC's stubs load TensorFlow
    failures = ask(args, paths)
    if failures:
        unread = " or could not be read" if any(isinstance(error, OSError) for error in failures) else ""
        raise UserError(f"{len(failures)} of {len(paths)} pictures were refused{unread}")


if __name__ == "__main__":
    program.run(main)
