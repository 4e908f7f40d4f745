"""What a trained run is worth: accuracy and the quality of its explanations, over a whole split."""

import dataclasses
import json
import pathlib

import numpy as np
import tensorflow as tf
from tqdm import tqdm

from cgc_tf import config as settings
from cgc_tf import data, figures, geometry, metrics, runs, sources
from cgc_tf.errors import UserError

REPORT = "evaluation.json"
FIGURE = "explanations.png"
COMPARISON = "comparison"
COLUMNS = {"top1": "top-1", "top5": "top-5", "content_heatmap": "CH", "insertion_auc": "insertion"}


def evaluate_runs(workdirs, split="test", limit=None, examples=6, batch_size=32):
    """Evaluates each workdir, and draws them side by side.

    Args:
        workdirs: folders of trained runs on one dataset.
        split: the split to measure on.
        limit: measure on so many examples at most, spread over the split; None for all.
        examples: how many images to draw.
        batch_size: examples at a time.

    Returns:
        `(reports, figure)`: one report for each workdir, and the path of the figure.

    Raises:
        UserError: before any measuring, for workdirs that cannot be evaluated together.
    """
    configs = [settings.Config.load(workdir) for workdir in workdirs]
    first = configs[0]
    for workdir, config in zip(workdirs, configs, strict=True):
        if (config.dataset, config.data_dir) != (first.dataset, first.data_dir):
            raise UserError(f"{workdir} was trained on other data than {workdirs[0]}; compare runs on one dataset")
        runs.trained_checkpoint(workdir)
    source = sources.load(first.dataset, first.data_dir or None, first.on_bad_image)
    for workdir in workdirs:
        if runs.class_names(workdir) != source.class_names:
            raise UserError(f"{workdir} was trained on other classes than {first.dataset} now has")
    if split not in source.sizes:
        raise UserError(f"--split={split}: {first.dataset} has {', '.join(source.sizes)}")
    shown = _examples(source, split, examples)
    reports, rows = [], {}
    for workdir, config in zip(workdirs, configs, strict=True):
        model = runs.trained_model(config, workdir)
        scores = measure(model, source, split, config.image_size, batch_size, limit, pathlib.Path(workdir).name)
        report = {**scores, "split": split, "workdir": str(workdir), "config": dataclasses.asdict(config)}
        (pathlib.Path(workdir) / REPORT).write_text(json.dumps(report, indent=2) + "\n")
        reports.append(report)
        answers = [_explain(model, example, 2 * config.image_size, source) for example in shown]
        rows[_row_name(config, workdir, configs)] = answers
        figures.explanations(pathlib.Path(workdir) / FIGURE, shown, {config.objective: answers})
    figure = pathlib.Path(workdirs[0]) / FIGURE
    if len(workdirs) > 1:
        figure = pathlib.Path(workdirs[0]).parent / f"{COMPARISON}.png"
        figures.explanations(figure, shown, rows)
    return reports, figure


def measure(model, source, split, image_size, batch_size, limit=None, name=""):
    """Accuracy, Insertion AUC and Content Heatmap of a model on a split.

    Accuracy and insertion are measured on the centre view; the class scored and explained by insertion is the one
    predicted on the clean image. CH is measured on the whole image, shorter side twice `image_size` (the paper's
    448 for 224), for the labelled class.

    Returns:
        A dict of fractions: `top1`, `top5`, `insertion_auc`, `content_heatmap` (None where no boxes are known),
        `content_heatmap_of_uniform` (what a uniform heatmap would score); and of counts: `examples`,
        `zero_heatmaps` (left out of CH), `without_boxes`.
    """
    views = data.validation_batches(source, split, image_size, batch_size, limit)
    count = min(limit or source.sizes[split], source.sizes[split])
    top5 = min(5, len(source.class_names))

    @tf.function(reduce_retracing=True)
    def score(images, label):
        answer = model.explain(images)
        saliency = metrics.upsample(answer["heatmap"], [image_size, image_size])
        curve = metrics.pixel_curve(
            lambda x: tf.nn.softmax(model(x, training=False)),
            metrics.blur(images),
            images,
            saliency,
            answer["class_id"],
        )
        hits = tf.math.in_top_k(label, answer["probabilities"], top5)
        return answer["class_id"] == label, hits, metrics.area_under(curve)

    @tf.function(reduce_retracing=True)
    def locate(images, label, regions):
        return metrics.content_heatmap(model.explain(images, label)["heatmap"], regions)

    right, in_top5, areas, shares, valid, uniform = ([] for _ in range(6))
    with tqdm(total=count, desc=f"accuracy, insertion {name}", unit="image", disable=None) as bar:
        for batch in views:
            for kept, values in zip((right, in_top5, areas), score(batch["image"], batch["label"]), strict=True):
                kept.extend(values.numpy())
            bar.update(len(batch["label"]))
    if source.has_boxes:
        with tqdm(total=count, desc=f"content heatmap {name}", unit="image", disable=None) as bar:
            for batch in located_batches(source, split, 2 * image_size, batch_size, limit):
                share, is_valid = locate(batch["image"], batch["label"], batch["region"])
                known = tf.reduce_any(batch["region"] > 0, [1, 2]).numpy()
                shares.extend(share.numpy()[known])
                valid.extend(is_valid.numpy()[known])
                uniform.extend(tf.reduce_mean(batch["region"], [1, 2]).numpy()[known])
                bar.update(len(known))
    valid = np.array(valid, bool)
    return {
        "top1": _mean(right),
        "top5": _mean(in_top5),
        "content_heatmap": _mean(np.array(shares)[valid]),
        "content_heatmap_of_uniform": _mean(uniform),
        "insertion_auc": _mean(areas),
        "examples": len(right),
        "zero_heatmaps": int(np.sum(~valid)),
        "without_boxes": len(right) - len(valid),
    }


def located_batches(source, split, side, batch_size, limit=None):
    """Batches of whole images whose objects' boxes are known or not, images of one size together.

    Returns:
        A `tf.data.Dataset` of dicts: `image` uint8 `[B, H', W', 3]`, shorter side `side`; `label` `[B]`; `region`
        float32 `[B, H, W]` at the images' own size.
    """

    def whole(example):
        example = source.decode(example)
        shape = tf.shape(example["image"])
        return {
            "image": geometry.resize_image(example["image"], geometry.shorter_side(shape[0], shape[1], side)),
            "label": example["label"],
            "region": geometry.boxes_to_region(example["boxes"], shape[0], shape[1]),
        }

    def size(example):
        shape = tf.shape(example["region"], tf.int64)
        return shape[0] * 2**31 + shape[1]

    chosen = data.spread(source.examples(split), source.sizes[split], limit).map(whole, data.PARALLEL)
    return chosen.group_by_window(size, lambda _, same: same.batch(batch_size), window_size=batch_size).prefetch(2)


def table(reports):
    """The reports as lines of text: one run a line, in percent."""
    names = [f"{report['config']['objective']} ({pathlib.Path(report['workdir']).name})" for report in reports]
    width = max(map(len, names))
    lines = [" " * width + "".join(f"{title:>11}" for title in COLUMNS.values())]
    for name, report in zip(names, reports, strict=True):
        cells = ["-" if report[key] is None else f"{100 * report[key]:.2f}" for key in COLUMNS]
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>11}" for cell in cells))
    uniform = reports[0]["content_heatmap_of_uniform"]
    counts = f"{reports[0]['examples']} images of split {reports[0]['split']}"
    if uniform is not None:
        counts += f"; a uniform heatmap scores CH {100 * uniform:.2f}"
    return "\n".join([*lines, counts])


def _mean(values):
    return float(np.mean(values)) if len(values) else None


def _examples(source, split, count):
    chosen = data.spread(source.examples(split), source.sizes[split], count).map(source.decode)
    shown = []
    for example in chosen.as_numpy_iterator():
        title = source.class_names[example["label"]].replace("_", " ")
        shown.append({**example, "title": title})
    return shown


def _explain(model, example, side, source):
    shape = geometry.shorter_side(*example["image"].shape[:2], side)
    image = geometry.resize_image(example["image"], shape)[None]
    answer = model.explain(image, example["label"][None])
    heatmap = answer["heatmap"]
    predicted = int(tf.argmax(answer["probabilities"][0]))
    caption = "right" if predicted == example["label"] else f"says {source.class_names[predicted].replace('_', ' ')}"
    if len(example["boxes"]):
        region = geometry.boxes_to_region(example["boxes"], *example["image"].shape[:2])
        caption += f", CH {100 * float(metrics.content_heatmap(heatmap, region[None])[0][0]):.0f}"
    return {"heatmap": heatmap[0].numpy(), "caption": caption}


def _row_name(config, workdir, configs):
    same = sum(other.objective == config.objective for other in configs)
    return config.objective if same == 1 else pathlib.Path(workdir).name
