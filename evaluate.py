"""Measures trained runs and their explanations, draws them, and compares them image by image.

  python evaluate.py                                  the newest run under runs/
  python evaluate.py --workdir=runs/A                 one run
  python evaluate.py --workdir=runs/A,runs/B,runs/C   several on one dataset, each against the first
  python evaluate.py --workdir=runs/A --explainer=,occlusion,smoothgrad      its own heatmaps beside others
  python evaluate.py --saved_model=exported --dataset=folder --data_dir=DIR --image_size=224
  python evaluate.py --checkpoint --backbone=resnet50 --weights=FILE --dataset=imagenet100
  python evaluate.py --table=no_negatives --dataset=toy_aircraft             a table of the paper, trained if missing

Into each workdir go evaluation.json, per_image.csv, curves.csv, explanations.{png,pdf} and, for one run, report.html;
several together also make comparison.{html,md,tex,json,png,pdf} beside them. --help lists how to measure and to draw.
"""

import cgc_tf.quiet  # noqa: F401  # isort: skip
import json
import pathlib

from absl import flags

from cgc_tf import config, errors, explainers, gallery, protocol

config.define_flags()
protocol.define_flags()
flags.adopt_module_key_flags(protocol)
WORKDIR = flags.DEFINE_list("workdir", None, "Folders of trained runs, comma-separated (default: the newest).")
SAVED_MODEL = flags.DEFINE_string("saved_model", None, "An exported model to measure on --dataset.")
CHECKPOINT = flags.DEFINE_bool("checkpoint", False, "Measure --weights, classifier included, as they are.")
TABLE = flags.DEFINE_string("table", None, "A table of configs/tables/ to make, training what is missing.")
SEEDS = flags.DEFINE_integer("seeds", 0, "Of --table: how many seeds; 0 for its own number.", lower_bound=0)
OUTPUT = flags.DEFINE_string("output", None, "Folder of what has no workdir (default: one under runs/).")
EXPLAINER = flags.DEFINE_list(
    "explainer", [""], f"Who explains, one or more: {', '.join(explainers.NAMES)} (default: as the run was trained)."
)
EXAMPLES = flags.DEFINE_integer("examples", 6, "How many images to draw.", lower_bound=1)
SHOW = flags.DEFINE_enum(
    "show", "spread", gallery.CHOICES, "Which images to draw; best and worst by CH, or by the last run's gain in it."
)
SHOW_IDS = flags.DEFINE_list("show_ids", [], "Ids of the images to draw, as per_image.csv names them.")
GALLERY = flags.DEFINE_integer("gallery", 24, "How many images the HTML report shows.", lower_bound=1)
for used in ("batch_size", "dataset", "data_dir", "image_size", "backbone", "weights"):  # of config's
    flags.declare_key_flag(used)


def main(_):
    if unknown := set(EXPLAINER.value) - {"", *explainers.NAMES}:
        raise errors.UserError(f"unknown --explainer={unknown.pop()}; known: {', '.join(explainers.NAMES)}")
    if sum(map(bool, (WORKDIR.value, SAVED_MODEL.value, CHECKPOINT.value, TABLE.value))) > 1:
        raise errors.UserError("pass one of --workdir, --saved_model, --checkpoint and --table")
    if TABLE.value:
        from cgc_tf import paper_tables

        given = flags.FLAGS["dataset"]
        dataset = given.value if given.present else ""
        print(paper_tables.make(TABLE.value, dataset, flags.FLAGS.data_dir, SEEDS.value, output=OUTPUT.value))
        return
    if not (WORKDIR.value or SAVED_MODEL.value or CHECKPOINT.value):
        WORKDIR.value = [str(config.newest_workdir())]
        print(f"newest run: {WORKDIR.value[0]}")
    from cgc_tf import evaluation, report, sources, tables

    chosen = protocol.from_flags()
    drawing = evaluation.Drawing(EXAMPLES.value, SHOW.value, tuple(SHOW_IDS.value), GALLERY.value)
    rest = {"batch_size": flags.FLAGS.batch_size, "explainers": EXPLAINER.value, "drawing": drawing}
    if WORKDIR.value:
        reports, figure = evaluation.evaluate_runs(WORKDIR.value, protocol=chosen, **rest)
    else:
        settings = config.from_flags()
        source = sources.load(settings.dataset, settings.data_dir or None, settings.on_bad_image)
        make = lambda: _from_outside(settings, source.class_names)
        reports, figure = evaluation.evaluate_subjects([make], source, chosen, **rest)
    print(evaluation.table(reports))
    if len(reports) > 1:
        compared = json.loads(figure.with_name("comparison.json").read_text())
        print(f"\n{tables.text(*tables.differences(compared))}")
    page = figure.with_name("comparison.html" if figure.stem == "comparison" else "report.html")
    print(f"figure: {figure}\npage:   {page}")
    for folder in dict.fromkeys(found["workdir"] for found in reports):
        for explainer in EXPLAINER.value:
            print(f"report: {report.file(folder, report.REPORT, explainer)}")


def _from_outside(settings, class_names):
    from cgc_tf import subjects

    source = SAVED_MODEL.value or settings.weights
    folder = pathlib.Path(OUTPUT.value or f"runs/evaluation-{pathlib.Path(source).name}")
    if SAVED_MODEL.value:
        return subjects.from_saved_model(source, settings, class_names, folder)
    return subjects.from_checkpoint(settings, class_names, folder)


if __name__ == "__main__":
    errors.run(main)
