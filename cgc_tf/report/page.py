"""report.html: one file with its tables, curves and a gallery to sort, which needs no network."""

import base64
import html
import io
import json
import pathlib
import re
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from PIL import Image

from cgc_tf.common import files
from cgc_tf.method.overlay import BOX_COLOR, overlay
from cgc_tf.report import tables

SIDE = 224  # pixels of a picture in the gallery, the longer side at most


def write(
    path: files.PathLike,
    reports: Sequence[Mapping],
    comparisons: Sequence[Mapping],
    charts: Mapping[str, files.PathLike],
    shown: Sequence[Mapping],
    answers: Mapping[str, Sequence[Mapping]],
) -> None:
    """Writes the page.

    Args:
        path: the file.
        reports: what evaluation.json says of each model.
        comparisons: as `results.compare` gives them.
        charts: {caption: a PNG's path}, to embed.
        shown: the gallery's images, dicts: `image` uint8 `[H, W, 3]`, `boxes` `[n, 4]`, `id`, `title`.
        answers: {model's name: a list parallel to `shown`, of dicts: `heatmap` `[h, w]`, the `box` of the image that it
            covers, `caption`, `content_heatmap`, a float or NaN, and `mistake`, the same of the class that was
            predicted wrongly, or None}.

    Raises:
        UserError: it cannot be written.
    """
    first = reports[0]
    settings = {key: first[key] for key in ("protocol", "config", "versions", "hardware")}
    sections = [
        f"<h1>{html.escape(' · '.join(tables.label(report) for report in reports))}</h1>",
        _facts(reports),
        "<h2>Scores</h2><p>Percent, with the 95% bootstrap interval of the mean over images. Arrows: what is better.",
        _table(*tables.every_score(reports), "scores"),
    ]
    if comparisons:
        sections += ["<h2>Paired differences</h2>", _table(*tables.differences(comparisons, reports))]
    sections += [_chart(caption, pathlib.Path(file)) for caption, file in charts.items()]
    sections += [_randomization(report) for report in reports if report["randomization"]]
    sections += [
        f"<h2>Gallery</h2><p>{len(shown)} of the {first['examples']} images.",
        _sorting(list(answers)),
        f'<div id=gallery style="--pictures: {1 + len(answers)}">',
        *(_figure(shown, answers, place) for place in range(len(shown))),
        "</div><h2>Classes</h2>",
        _classes(reports),
        "<details><summary>Settings, versions, hardware</summary><pre>",
        html.escape(json.dumps(settings, indent=1)),
        "</pre></details>",
    ]
    template = pathlib.Path(__file__).with_name("page.html").read_text("utf-8")
    with files.reported(path):
        files.write(path, template.replace("{body}", "\n".join(sections)))


def _facts(reports):
    first = reports[0]
    facts = {
        "dataset": first["dataset"],
        "split": f"{first['split']}, {first['examples']} of its {first['split_examples']} images",
        "image size": ", ".join(f"{r['name']}: {r['image_size']}" for r in reports),
        "zero heatmaps, left out of CH": ", ".join(f"{r['name']}: {r['zero_heatmaps']}" for r in reports),
        "images without boxes": first["without_boxes"],
        "CH measured on": f"{first['content_heatmap_on']}, {first['protocol']['ch_region']} of the object",
    }
    if first["content_heatmap_of_uniform"] is not None:
        facts["CH of a uniform heatmap"] = f"{100 * first['content_heatmap_of_uniform']:.2f}"
    if notes := [f"{r['name']}: {note}" for r in reports for note in r["notes"]]:
        facts["note"] = "; ".join(notes)
    return "<dl>" + "".join(f"<dt>{k}<dd>{html.escape(str(v))}" for k, v in facts.items()) + "</dl>"


def _table(head, rows, name=""):
    body = "".join(_row(row, "td") for row in rows)
    return f"<div class='wide {name}'><table><thead>{_row(head, 'th')}</thead><tbody>{body}</tbody></table></div>"


def _row(cells, tag):
    texts = (re.sub(r"(\[.+)", r"<small>\1</small>", html.escape(cell)) for cell in cells)  # an interval is small
    return "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in texts) + "</tr>"


def _classes(reports):
    head = ["class", "images", *(f"{title}, {r['name']}" for r in reports for title in ("top-1", "CH"))]
    rows = []
    for name, found in reports[0]["per_class"].items():
        each = [report["per_class"].get(name, {}) for report in reports]
        values = [one.get(key) for one in each for key in ("top1", "content_heatmap")]
        cells = ["-" if value is None else f"{100 * value:.1f}" for value in values]
        rows.append([name, str(found["examples"]), *cells])
    return _table(head, rows)


def _randomization(report):
    rows = [
        [found["layer"], "-" if found["spearman"] is None else f"{found['spearman']:.3f}"]
        for found in report["randomization"]
    ]
    count = report["randomization_examples"]
    title = f"<h2>Randomization check, {html.escape(report['name'])}, {count} images</h2>"
    return title + _table(["layers shuffled down to", "rank correlation with the heatmap before"], rows)


def _sorting(names):
    options = ['<option value="place">order of the choice</option>']
    if len(names) > 1:
        options.append('<option value="gain">CH difference, last less first</option>')
    options += [f'<option value="ch{i}">CH of {html.escape(name)}</option>' for i, name in enumerate(names)]
    return (
        f"<p><label>sort by <select id=key>{''.join(options)}</select></label> "
        "<label><input type=checkbox id=down checked> highest first</label></p>"
    )


def _figure(shown, answers, place):
    example, each = shown[place], [explained[place] for explained in answers.values()]
    shares = [answer["content_heatmap"] for answer in each]
    values = {"place": -place, "gain": shares[-1] - shares[0], **{f"ch{i}": share for i, share in enumerate(shares)}}
    data = " ".join(f'data-{key}="{"" if np.isnan(value) else round(value, 5)}"' for key, value in values.items())
    cells = [_picture(example["image"], example["boxes"], "image")]
    for name, answer in zip(answers, each, strict=True):
        captions = {f"{name}: {answer['caption']}": answer}
        if mistake := answer.get("mistake"):
            captions[f"{name} {mistake['caption']}"] = mistake
        for caption, one in captions.items():
            drawn = overlay(example["image"], one["heatmap"], one["box"])
            cells.append(_picture(drawn, example["boxes"], caption))
    identity = example["id"].decode() if isinstance(example["id"], bytes) else str(example["id"])
    title = f"<figcaption>{html.escape(example['title'])} <small>{html.escape(identity)}</small></figcaption>"
    return f"<figure {data}>{title}<div class=row>{''.join(cells)}</div></figure>"


def _picture(image, boxes, caption):
    factor = min(1.0, SIDE / max(image.shape[:2]))
    height, width = (max(1, round(length * factor)) for length in image.shape[:2])
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    for ymin, xmin, ymax, xmax in np.asarray(boxes):
        corners = (round(xmin * width), round(ymin * height)), (round(xmax * width) - 1, round(ymax * height) - 1)
        cv2.rectangle(image, *corners, BOX_COLOR, 1)
    with io.BytesIO() as stream:
        Image.fromarray(image).save(stream, "JPEG", quality=88)
        source = _data_url("jpeg", stream.getvalue())
    return f'<div><img src="{source}" alt=""><span>{html.escape(caption)}</span></div>'


def _chart(caption, file):
    source = _data_url("png", file.read_bytes())
    return f'<h2>{html.escape(caption)}</h2><img class=chart src="{source}" alt="{html.escape(caption)}">'


def _data_url(kind, contents):
    return f"data:image/{kind};base64,{base64.b64encode(contents).decode()}"
