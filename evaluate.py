"""Measures trained models and their explanations, draws them, and compares them image by image.

  python evaluate.py                                  the newest run under runs/
  python evaluate.py --workdir=runs/A                 one run
  python evaluate.py --workdir=runs/A,runs/B,runs/C   several on one dataset, each against the first
  python evaluate.py --workdir=runs/A --explainer=,occlusion,smoothgrad      its own heatmaps beside others
  python evaluate.py --workdir=runs/A --data_dir=DIR  on other pictures of the same classes than it was trained on
  python evaluate.py --saved_model=exported           an exported model, which says what it was trained on, and how
  python evaluate.py --checkpoint --weights=FILE --backbone=resnet50 --image_size=224 --labels=FILE --dataset=imagenet
  python evaluate.py --table=no_negatives --dataset=toy_aircraft             a table of the paper, trained if missing

Into each workdir go evaluation.json, per_image.csv, curves.csv, explanations.{png,pdf} and report.html; several
together also make comparison.{html,md,tex,json,png,pdf} beside them. What is not of the whole test split of the run's
own dataset has other names, as evaluation-limit-100.json. --help lists how to measure and to draw.
"""

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import dataclasses
import pathlib

from absl import flags

from cgc_tf.common import errors, settings
from cgc_tf.evaluation import examples, explainers, protocol
from cgc_tf.report import model_card
from cgc_tf.training import config

protocol.define_flags()
flags.adopt_module_key_flags(protocol)
WORKDIR = flags.DEFINE_list("workdir", None, "Folders of trained runs, comma-separated (default: the newest).")
SAVED_MODEL = flags.DEFINE_string("saved_model", None, "An exported model to measure.")
CHECKPOINT = flags.DEFINE_bool("checkpoint", False, "Measure --weights, classifier included, as they are.")
WEIGHTS = flags.DEFINE_string("weights", None, "Of --checkpoint: a run, one of its checkpoints, or a PyTorch ResNet.")
BACKBONE = flags.DEFINE_string("backbone", None, "Of --checkpoint: the network, where the file does not say it.")
POOLING = flags.DEFINE_string("pooling", None, "Of --checkpoint: as for train.py.")
EXPLAIN_LAYER = flags.DEFINE_string("explain_layer", None, "Of --checkpoint: as for train.py.")
IMAGE_SIZE = flags.DEFINE_integer(
    "image_size", None, "Side in pixels, where the model does not say it.", lower_bound=16
)
LABELS = flags.DEFINE_string(
    "labels", None, "Classes of a model that does not name them: a file, one a line in order; `dataset`: as there."
)
TABLE = flags.DEFINE_string("table", None, "A table of configs/tables/ to make, training what is missing.")
SEEDS = flags.DEFINE_integer("seeds", 0, "Of --table: how many seeds; 0 for its own number.", lower_bound=0)
OUTPUT = flags.DEFINE_string("output", None, "Folder of what has no workdir (default: one under runs/).")
EXPLAINER = flags.DEFINE_list(
    "explainer", [""], f"Who explains, one or more: {', '.join(explainers.NAMES)} (default: as the run was trained)."
)
BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Examples at a time.", lower_bound=1)
EXAMPLES = flags.DEFINE_integer("examples", 6, "How many images to draw, at most.", lower_bound=1, upper_bound=100)
SHOW = flags.DEFINE_enum(
    "show", "spread", examples.CHOICES, "Which images to draw; best and worst by CH, or by the last run's gain in it."
)
SHOW_IDS = flags.DEFINE_list("show_ids", [], "Ids of the images to draw, as per_image.csv names them.")
GALLERY = flags.DEFINE_integer("gallery", 24, "How many images the HTML report shows, at most.", lower_bound=1)

MEASURING = {field.name for field in dataclasses.fields(protocol.Protocol)} | {"batch_size"}
DRAWING = {"examples", "show", "show_ids", "gallery"}
READ = {  # what each mode reads
    "workdir": {"workdir", "explainer"} | MEASURING | DRAWING,
    "saved_model": {"saved_model", "image_size", "labels", "output"} | MEASURING | DRAWING,
    "checkpoint": {"checkpoint", "weights", "backbone", "pooling", "explain_layer", "image_size", "labels", "output"}
    | {"explainer"} | MEASURING | DRAWING,
    "table": {"table", "dataset", "data_dir", "seeds", "output"},
}  # fmt: skip


def main(_):
    mode = _mode()
    if mode == "table":
        from cgc_tf.evaluation import paper_tables

        given = flags.FLAGS
        print(paper_tables.make(TABLE.value, given.dataset or "", given.data_dir, SEEDS.value, output=OUTPUT.value))
        return
    if unknown := set(EXPLAINER.value) - {"", *explainers.NAMES}:
        raise errors.UserError(f"unknown --explainer={unknown.pop()}; known: {', '.join(explainers.NAMES)}")
    from cgc_tf.evaluation import evaluate
    from cgc_tf.report import tables

    chosen = protocol.from_flags()
    drawing = evaluate.Drawing(EXAMPLES.value, SHOW.value, tuple(SHOW_IDS.value), GALLERY.value)
    rest = {"batch_size": BATCH_SIZE.value, "explainers": EXPLAINER.value, "drawing": drawing}
    if mode == "workdir":
        done = evaluate.evaluate_runs(_workdirs(), chosen, **rest)
    else:
        chosen = chosen.on_data_of(_trained_on())
        source = chosen.open_source()
        done = evaluate.evaluate_subjects([lambda: _from_outside(source)], source, chosen, **rest)
    print(f"{tables.text(*tables.means(done.reports))}\n{tables.what_it_is_of(done.reports)}")
    if done.comparisons:
        print(f"\n{tables.text(*tables.differences(done.comparisons, done.reports))}")
    print(f"figure: {done.figure}\npage:   {done.page}")


def _mode():
    """What is asked for; refuses every flag that would not be read then."""
    chosen = [flag.name for flag in (WORKDIR, SAVED_MODEL, CHECKPOINT, TABLE) if flag.value]
    if len(chosen) > 1:
        raise errors.UserError(f"choose one of {' and '.join(f'--{name}' for name in chosen)}")
    mode = chosen[0] if chosen else "workdir"
    settings.refuse_unread(f"--{mode}", READ[mode])
    if SHOW_IDS.value:
        settings.refuse_unread("--show_ids, which says which images to draw", READ[mode] - {"examples", "show"})
    return mode


def _workdirs():
    if WORKDIR.value:
        return WORKDIR.value
    newest = str(config.newest_workdir())
    print(f"newest run: {newest}")
    return [newest]


def _trained_on():
    """What is known of how a model from outside was trained."""
    if SAVED_MODEL.value:
        card = model_card.read(model_card.version_of(SAVED_MODEL.value)) or {}
        return card.get("configuration") or {}
    if not WEIGHTS.value:
        raise errors.UserError("--checkpoint needs --weights: a run, one of its checkpoints, or a PyTorch ResNet")
    from cgc_tf.evaluation import evaluated_models

    return evaluated_models.trained_on(WEIGHTS.value)


def _from_outside(source):
    from cgc_tf.evaluation import evaluated_models, saved_models

    labels = source.class_names if LABELS.value == "dataset" else None
    if LABELS.value and not labels:
        labels = model_card.read_labels(LABELS.value)
        if not labels:
            raise errors.UserError(f"--labels={LABELS.value}: no such file")
    if SAVED_MODEL.value:
        version = model_card.version_of(SAVED_MODEL.value)
        folder = pathlib.Path(OUTPUT.value or f"runs/evaluation-{version.parent.name}-{version.name}")
        return saved_models.from_saved_model(SAVED_MODEL.value, folder, IMAGE_SIZE.value, labels)
    folder = pathlib.Path(OUTPUT.value or f"runs/evaluation-{pathlib.Path(WEIGHTS.value).absolute().name}")
    told = {flag.name: flag.value for flag in (BACKBONE, IMAGE_SIZE, POOLING, EXPLAIN_LAYER) if flag.value}
    return evaluated_models.from_checkpoint(WEIGHTS.value, folder, told, labels)


if __name__ == "__main__":
    errors.run(main)
