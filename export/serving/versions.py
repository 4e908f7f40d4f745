"""The versions of one model in a watched folder: loaded when they appear, swapped without a dropped request."""

import pathlib
import threading
from collections.abc import Collection

import tensorflow as tf
from absl import logging
from tensorflow_serving.apis import get_model_status_pb2

from cgc_tf.common.errors import UserError
from cgc_tf.common.files import PathLike
from cgc_tf.report import model_card

from .servable import Servable, require

STATE = get_model_status_pb2.ModelVersionStatus


class Model:
    """Serves a folder's versions by number or label; safe to share by threads.

    A request holds the version it found until it is answered, so one that is replaced meanwhile ends its work first.

    Args:
        model_dir: the folder, with numbered versions in it.
        name: what requests call the model.
        serve: "latest", the highest number alone; "all"; or a collection of numbers.
        labels: {label: version number}, such as {"stable": 1, "canary": 2}.
        watch_seconds: how often to look for new versions; 0 for never.

    Raises:
        UserError: no version is there, or none of them can be loaded.
    """

    def __init__(
        self,
        model_dir: PathLike,
        name: str = "cgc",
        serve: str | Collection[int] = "latest",
        labels: dict[str, int] | None = None,
        watch_seconds: float = 0,
    ):
        self.name, self._dir, self._serve, self._labels = name, pathlib.Path(model_dir), serve, dict(labels or {})
        self._loaded, self._failed, self._ended = {}, {}, set()
        if not model_card.versions(model_dir):
            raise UserError(f"--model_dir={model_dir} holds no version, such as 1/saved_model.pb")
        self.refresh()
        if not self._loaded:
            raise UserError("; ".join(self._failed.values()) or f"{model_dir} holds none of the versions {serve}")
        missing = {label: number for label, number in self._labels.items() if number not in self._loaded}
        if missing:
            raise UserError(f"labels of versions that are not served: {missing}; served are {sorted(self._loaded)}")
        self._closing = threading.Event()
        if watch_seconds:
            threading.Thread(target=self._watch, args=[watch_seconds], daemon=True).start()

    def find(self, name: str | None = None, version: int | None = None, label: str | None = None) -> Servable:
        """The `Servable` of a version, a label, or the highest version.

        Raises NOT_FOUND for a version that is not served, INVALID_ARGUMENT for an unknown label, as TF Serving does.
        """
        loaded = self._loaded
        if name not in (None, self.name):
            raise _absent(f"no model {name}; this is {self.name}")
        if label:
            require(version is None, "a request names a version or a label, not both")
            if label not in self._labels:
                known = ", ".join(sorted(self._labels)) or "none"
                require(False, f"no version of {self.name} is labeled {label}; labels: {known}")
            version = self._labels[label]
        if version is not None and version not in loaded:
            raise _absent(f"no version {version} of {self.name}; served: {', '.join(map(str, sorted(loaded)))}")
        return loaded[max(loaded) if version is None else version]

    def status(
        self, name: str | None = None, version: int | None = None
    ) -> get_model_status_pb2.GetModelStatusResponse:
        """The `GetModelStatusResponse`: which versions are available, ended or broken; of one, or of all."""
        states = self._states()
        if name not in (None, self.name) or (version is not None and version not in states):
            self.find(name, version)
        chosen = sorted(states, reverse=True) if version is None else [version]
        return get_model_status_pb2.GetModelStatusResponse(model_version_status=[states[number] for number in chosen])

    def refresh(self) -> None:
        """Loads what is new and wanted, and then lets go of what is no longer wanted."""
        present = model_card.versions(self._dir)
        wanted = {number for number in present if self._serve in ("all", "latest") or number in self._serve}
        loaded = dict(self._loaded)
        self._failed = {number: text for number, text in self._failed.items() if number in present}
        for number in sorted(wanted - set(loaded), reverse=True):
            if number in self._failed or (self._serve == "latest" and loaded and number < max(loaded)):
                continue
            try:
                loaded[number] = Servable(present[number], self.name)
                logging.info("loaded %s", present[number])
            except UserError as error:  # the versions that work are served on
                self._failed[number] = str(error)
                logging.error("%s", error)
        kept = wanted & set(loaded)
        if self._serve == "latest" and kept:
            kept = {max(kept), *(number for number in self._labels.values() if number in kept)}
        if not kept:  # a folder that is emptied ends nothing
            return
        self._ended |= set(loaded) - kept
        self._loaded = {number: loaded[number] for number in kept}

    def close(self) -> None:
        """Stops watching."""
        self._closing.set()

    def _states(self):
        ended = {number: (STATE.END, 0, "") for number in self._ended}
        failed = {number: (STATE.END, tf.errors.UNKNOWN, text) for number, text in self._failed.items()}
        available = {number: (STATE.AVAILABLE, 0, "") for number in self._loaded}
        return {
            number: STATE(version=number, state=state, status={"error_code": code, "error_message": text})
            for number, (state, code, text) in {**ended, **failed, **available}.items()
        }

    def _watch(self, seconds):
        while not self._closing.wait(seconds):
            try:
                self.refresh()
            except Exception:  # nothing that lies in a folder ends the watching of it
                logging.exception("looking for new versions in %s failed", self._dir)


def _absent(message):
    return tf.errors.NotFoundError(None, None, message)
