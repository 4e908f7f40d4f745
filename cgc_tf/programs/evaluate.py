"""Measures trained models and their explanations, draws them, and compares them image by image.

  python evaluate.py                                  the newest run under runs/
  python evaluate.py --workdir=runs/A                 one run
  python evaluate.py --workdir=runs/A,runs/B,runs/C   several on one dataset, each against the first
  python evaluate.py --workdir=runs/A --explainer=,occlusion,smoothgrad      its own heatmaps beside others
  python evaluate.py --workdir=runs/A --data_dir=DIR  on other pictures of the same classes than it was trained on
  python evaluate.py --saved_model=exported           an exported model, which says what it was trained on, and how
  python evaluate.py --checkpoint --weights=FILE --backbone=resnet50 --image_size=224 --labels=FILE --dataset=imagenet
  python evaluate.py --table=no_negatives --dataset=toy_aircraft             a table of the paper, trained if missing
  python evaluate.py --workdir=runs/A --shard=0/4     a quarter of the images; --shard=join makes the whole of all four
  python evaluate.py --group_by=objective runs/*      seeds pooled, differences tested: by-objective.{md,tex,json,png}

Into each workdir go evaluation.json, per_image.csv, curves.csv, explanations.{png,pdf} and report.html; several
together also make comparison.{html,md,tex,json,png,pdf} beside them. What is not of the whole test split of the run's
own dataset, or not measured as by default, has other names, as evaluation-limit-100.json or
evaluation-ch_region-mask.json. --help lists how to measure and to draw.
"""

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import dataclasses
import pathlib

from absl import flags

from cgc_tf.common import program, settings
from cgc_tf.common.errors import UserError
from cgc_tf.evaluation import explainers
from cgc_tf.evaluation.examples import Drawing
from cgc_tf.evaluation.protocol import OTHERWISE, Protocol
from cgc_tf.report import model_card
from cgc_tf.training import config

FLAGS = flags.FLAGS
SETTINGS = {field.name for cls in (Protocol, Drawing) for field in dataclasses.fields(cls)} | {"batch_size", "shard"}
TOLD = ("backbone", "image_size", "pooling", "explain_layer")  # of a file of weights that does not say it
READ = {  # what each mode reads
    "workdir": {"workdir", "explainer"} | SETTINGS,
    "saved_model": {"saved_model", "image_size", "labels", "output"} | SETTINGS,
    "checkpoint": {"checkpoint", "weights", *TOLD, "labels", "output", "explainer"} | SETTINGS,
    "table": {"table", "dataset", "data_dir", "seeds", "output"},
    "group_by": {"group_by", "output", "resamples", "split", *OTHERWISE},
}
TAKES_ARGUMENTS = True  # of --group_by, as a shell spells them out


def define_flags():
    """Defines the flags: which models, how to measure, what to draw."""
    program.section(
        "Models",
        flags.DEFINE_list("workdir", None, "Folders of trained runs, comma-separated (default: the newest)."),
        flags.DEFINE_string("saved_model", None, "An exported model to measure."),
        flags.DEFINE_bool("checkpoint", False, "Measure --weights, classifier included, as they are."),
        flags.DEFINE_string("weights", None, "Of --checkpoint: a run, one of its checkpoints, or a PyTorch ResNet."),
        flags.DEFINE_string("backbone", None, "Of --checkpoint: the network, where the file does not say it."),
        flags.DEFINE_string("pooling", None, "Of --checkpoint: as for train.py."),
        flags.DEFINE_string("explain_layer", None, "Of --checkpoint: as for train.py."),
        flags.DEFINE_integer("image_size", None, "Side in pixels, where the model does not say it.", lower_bound=16),
        flags.DEFINE_string(
            "labels",
            None,
            "Classes of a model that does not name them: a file, one a line in order; `dataset`: as there.",
        ),
        flags.DEFINE_string("table", None, "A table of configs/tables/ to make, training what is missing."),
        flags.DEFINE_integer("seeds", 0, "Of --table: how many seeds; 0 for its own number.", lower_bound=0),
        flags.DEFINE_string(
            "group_by",
            None,
            "A setting, or several: objective,similarity. Pool the seeds of the runs whose folders follow the flags.",
        ),
        flags.DEFINE_string("output", None, "Folder of what has no workdir (default: one under runs/)."),
    )
    settings.define_flags(Protocol)
    program.section(
        "Measuring",
        flags.DEFINE_list(
            "explainer", [""], f"Who explains, one or more: {', '.join(explainers.NAMES)} (default: as trained)."
        ),
        flags.DEFINE_integer("batch_size", 32, "Examples at a time.", lower_bound=1),
        flags.DEFINE_string(
            "shard",
            "",
            "i/n measures part i of n alone, from 0 on; join makes the whole of what n processes have measured.",
        ),
    )
    settings.define_flags(Drawing)


def main(argv):
    mode = _mode()
    if mode == "group_by":
        from cgc_tf.evaluation import grouped

        print(grouped.make(argv[1:], FLAGS.group_by, FLAGS.output, settings.from_flags(Protocol)))
        return
    program.refuse_arguments(argv)
    if mode == "table":
        from cgc_tf.evaluation import paper_tables

        print(paper_tables.make(FLAGS.table, FLAGS.dataset or "", FLAGS.data_dir, FLAGS.seeds, output=FLAGS.output))
        return
    if unknown := set(FLAGS.explainer) - {"", *explainers.NAMES}:
        raise UserError(f"unknown --explainer={unknown.pop()}; known: {', '.join(explainers.NAMES)}")
    from cgc_tf.evaluation import evaluate
    from cgc_tf.report import tables, verdict

    protocol = settings.from_flags(Protocol)
    rest = FLAGS.batch_size, FLAGS.explainer, settings.from_flags(Drawing), FLAGS.shard
    if mode == "workdir":
        workdirs = FLAGS.workdir or [str(config.newest_workdir())]
        if not FLAGS.workdir:
            print(f"newest run: {workdirs[0]}")
        done = evaluate.evaluate(workdirs, None, protocol, *rest)
    else:
        trained = _trained_on()
        protocol = protocol.on_data_of(trained)
        source = protocol.open_source(trained)
        done = evaluate.evaluate_models(map(_from_outside, [source]), source, protocol, *rest)
    if not done.reports:
        print(f"measured part {FLAGS.shard}; when all are there: --shard=join instead, with the same other flags")
        return
    print(f"{tables.text(*tables.means(done.reports))}\n{tables.what_it_is_of(done.reports)}")
    for report in done.reports:
        print(verdict.headline(tables.label(report), report["background"]))
    if done.comparisons:
        print(f"\n{tables.text(*tables.differences(done.comparisons, done.reports))}")
    print(f"figure: {done.figure}\npage:   {done.page}")


def _mode():
    """What is asked for; refuses every flag that would not be read then."""
    if FLAGS.group_by == "":
        raise UserError("--group_by wants a setting, or several, as in --group_by=objective,similarity")
    chosen = [name for name in READ if FLAGS[name].value]
    if len(chosen) > 1:
        raise UserError(f"choose one of {' and '.join(f'--{name}' for name in chosen)}")
    mode = chosen[0] if chosen else "workdir"
    settings.refuse_unread(f"--{mode}", READ[mode])
    if FLAGS.shard not in ("", "join"):
        drawn = {field.name for field in dataclasses.fields(Drawing)}
        settings.refuse_unread(f"--shard={FLAGS.shard}, which draws nothing", READ[mode] - drawn)
    if FLAGS.show_ids:
        settings.refuse_unread("--show_ids, which says which images to draw", READ[mode] - {"examples", "show"})
    return mode


def _trained_on():
    """What is known of how a model from outside was trained."""
    if FLAGS.saved_model:
        return model_card.trained_on(model_card.version_of(FLAGS.saved_model))
    if not FLAGS.weights:
        raise UserError("--checkpoint needs --weights: a run, one of its checkpoints, or a PyTorch ResNet")
    from cgc_tf.evaluation import evaluated_models

    return evaluated_models.trained_on(FLAGS.weights)


def _from_outside(source):
    from cgc_tf.evaluation import evaluated_models, saved_models

    labels = source.class_names if FLAGS.labels == "dataset" else None
    if FLAGS.labels and not labels:
        labels = model_card.read_labels(FLAGS.labels)
        if not labels:
            raise UserError(f"--labels={FLAGS.labels}: no such file")
    if FLAGS.saved_model:
        version = model_card.version_of(FLAGS.saved_model)
        folder = pathlib.Path(FLAGS.output or f"runs/evaluation-{version.parent.name}-{version.name}")
        return saved_models.from_saved_model(FLAGS.saved_model, folder, FLAGS.image_size, labels)
    folder = pathlib.Path(FLAGS.output or f"runs/evaluation-{pathlib.Path(FLAGS.weights).absolute().name}")
    told = {name: FLAGS[name].value for name in TOLD if FLAGS[name].value}
    return evaluated_models.from_checkpoint(FLAGS.weights, folder, told, labels)


if __name__ == "__main__":
    program.run(main)
