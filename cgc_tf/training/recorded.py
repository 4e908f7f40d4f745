"""Settings as a run keeps them: `config.json` in its folder, and what may change while the run goes on."""

import dataclasses
import json
import pathlib
from typing import Any, Self

from cgc_tf.common import files
from cgc_tf.common.errors import UserError
from cgc_tf.common.settings import NEVER, WHILE_USED
from cgc_tf.training import read_by

FILE = "config.json"


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What a class of settings needs to be kept in a run's folder."""

    def to_flags(self) -> list[str]:
        """The settings that are read and are not the defaults, as command-line arguments, a list."""
        changed = dataclasses.asdict(self).items() - dataclasses.asdict(type(self)()).items()
        texts = {name: ",".join(map(str, value)) if isinstance(value, tuple) else value for name, value in changed}
        return [f"--{name}={text}" for name, text in sorted(texts.items()) if name not in read_by.unread(self)]

    def save(self, workdir: files.PathLike) -> None:
        """Writes the configuration into a run's folder, over one that is there; raises `OSError` where it cannot."""
        files.write(pathlib.Path(workdir) / FILE, json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    def changes(self, workdir: files.PathLike, are_allowed: bool = False) -> dict[str, tuple]:
        """What differs from the configuration in a run's folder: {setting: (there, here)}; empty where it has none.

        Raises:
            UserError: something differs that may not, or is not allowed to; everything that differs is named.
        """
        if not (pathlib.Path(workdir) / FILE).exists():
            return {}
        stored = type(self).load(workdir)
        pairs = {f.name: (getattr(stored, f.name), getattr(self, f.name)) for f in dataclasses.fields(self)}
        changed = {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}
        listed = "; ".join(f"{name} {old} there, {new} here" for name, (old, new) in changed.items())
        if changed and not are_allowed:
            raise UserError(
                f"{workdir} holds a run of another configuration: {listed}. Choose another folder, or go on "
                "differently with --allow_changes"
            )
        for field in dataclasses.fields(self):
            on_change, (old, new) = field.metadata["on_change"], pairs[field.name]
            if on_change == NEVER and old != new:
                raise UserError(f"--{field.name} cannot change within a run; choose another --workdir ({listed})")
            if on_change == WHILE_USED and bool(old) != bool(new):
                raise UserError(
                    f"--{field.name} cannot change from or to 0 within a run; choose another --workdir ({listed})"
                )
        return changed

    @classmethod
    def load(cls, workdir: files.PathLike) -> Self:
        """Reads the settings in a run's folder; raises `UserError` where there are none."""
        path = pathlib.Path(workdir) / FILE
        try:
            stored: dict[str, Any] = json.loads(path.read_text())
            values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in stored.items()}
            return cls(**values)
        except FileNotFoundError:
            raise UserError(f"{workdir} is not a run folder: it has no {FILE}; train one with train.py") from None
        except (json.JSONDecodeError, TypeError) as error:
            raise UserError(f"{path} is not a configuration of this version: {error}") from error
