"""What a model card says of a version: where it is from, how it was trained, what was measured of it."""

import dataclasses
import datetime
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from cgc_tf.common import environment, errors
from cgc_tf.common.files import PathLike
from cgc_tf.evaluation.protocol import Protocol
from cgc_tf.report import model_card, tables
from cgc_tf.report.results import REPORT
from cgc_tf.training import config as settings
from cgc_tf.training import journal, run_folder
from cgc_tf.training.checkpoints import Checkpoint

NO_RUN = {"name": "an unknown run", "identity": None}


def run_of(workdir: PathLike) -> dict[str, str]:
    """Which run a workdir holds: its folder's `name`, and an `identity` that it keeps where it is moved or renamed."""
    started = next(iter(journal.read(workdir)), None) or settings.Config.load(workdir).to_flags()
    digest = hashlib.sha256(json.dumps(started).encode()).hexdigest()
    return {"name": pathlib.Path(workdir).absolute().name, "identity": digest[:16]}


def check_same_run(run: dict[str, str], output: PathLike) -> None:
    """Raises `UserError` where the newest version in a folder is of another run, which a server would then replace."""
    if versions := model_card.versions(output):
        newest = versions[max(versions)]
        there = (model_card.read(newest) or {}).get("run") or NO_RUN
        if there["identity"] != run["identity"]:
            raise errors.UserError(
                f"--output={output}: version {newest.name} there is of {there['name']}, not of {run['name']}, and a "
                "server would switch to the new one; choose another folder, or add --allow_other_run"
            )


def of_run(config: settings.Config, workdir: PathLike, checkpoint: Checkpoint, class_names: Sequence[str]) -> dict:
    """What the card of a run's checkpoint says; `metrics` is empty where `no_metrics` says why."""
    report, reason = whole_evaluation(config, workdir, checkpoint)
    history = journal.history(workdir)
    changes = f" ({tables.changes(history)})" if history else ""
    return {
        **_of_any(class_names, config.image_size, config.dataset),
        "name": f"{config.backbone} trained with {config.objective} on {config.dataset}{changes}",
        "run": run_of(workdir),
        "history": history,
        "checkpoint": checkpoint.name,
        "metrics": {name: value for name, value in report.items() if name not in ("config", "workdir")},
        "no_metrics": reason,
        "configuration": dataclasses.asdict(config),
    }


def of_model(name: str, class_names: Sequence[str], image_size: int, known: Mapping) -> dict:
    """What the card of a model says that no run made; `known` are its settings as `EvaluatedModel` has them."""
    return {
        **_of_any(class_names, image_size),
        "name": name,
        "run": {"name": name, "identity": None},
        "no_metrics": "it was exported without a run",
        "configuration": {field.name: known.get(field.name) for field in dataclasses.fields(settings.Config)},
    }


def _of_any(class_names, image_size, dataset=None):
    """What a card says in any case, and None of what only a run's own says."""
    return {
        "name": None,
        "history": None,
        "method": "Contrastive Grad-CAM Consistency, CVPR 2022, arXiv 2110.00527",
        "exported": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "commit": environment.commit(),
        "checkpoint": None,
        "data": {"dataset": dataset, "classes": len(class_names)},
        "metrics": {},
        "no_metrics": None,
        "image_size": image_size,
        "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
    }


def whole_evaluation(config, workdir, checkpoint):
    """`(report, None)` of an evaluation of these very weights on the whole test split; or `({}, why there is none)`."""
    path = pathlib.Path(workdir) / REPORT
    try:
        report = json.loads(path.read_text())
        fields = {field.name for field in dataclasses.fields(Protocol)}
        protocol = Protocol(**{name: value for name, value in report["protocol"].items() if name in fields})
    except FileNotFoundError:
        return {}, "it was not evaluated"
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        return {}, f"{path} cannot be read: {errors.first_line(error)}"
    if report.get("checkpoint") != checkpoint.name:
        return {}, f"{path} is of another checkpoint, {report.get('checkpoint')}"
    if not protocol.is_whole:
        return {}, f"{path} is not of the whole test split"
    if not protocol.is_on_own_data({**dataclasses.asdict(config), "record": run_folder.trained_on(workdir)["record"]}):
        return {}, f"{path} is of other data than the run's: {protocol.dataset}, {protocol.data_dir}"
    return report, None
