"""report.html: one file with its tables, curves and a gallery to sort, which needs no network."""

import base64
import html
import io
import json
import pathlib

import cv2
import numpy as np
from PIL import Image

from cgc_tf.common.errors import UserError
from cgc_tf.method.overlay import BOX_COLOR, overlay
from cgc_tf.report import tables

SIDE = 224  # pixels of a picture in the gallery, the longer side at most


def write(path, reports, comparisons, pictures, shown, answers):
    """Writes the report.

    Args:
        path: the file.
        reports: a list of reports; comparisons: as `tables.compare` gives them.
        pictures: {caption: path of a PNG} to embed.
        shown: the gallery's examples (see `gallery.examples`).
        answers: {subject's name: a list parallel to `shown` (see `gallery.explain`)}.
    """
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
    sections = [
        f"<h1>{html.escape(' · '.join(tables.label(report) for report in reports))}</h1>",
        _facts(facts),
        "<h2>Scores</h2><p>Percent, with the 95% bootstrap interval of the mean over images. Arrows: what is better.",
        _table(*tables.every_score(reports), "scores"),
    ]
    if comparisons:
        sections += ["<h2>Paired differences</h2>", _table(*tables.differences(comparisons, reports))]
    sections += [_embedded(caption, pathlib.Path(file)) for caption, file in pictures.items()]
    sections += [_randomization(report) for report in reports if report["randomization"]]
    sections += [
        f"<h2>Gallery</h2><p>{len(shown)} of the {first['examples']} images.",
        _sorting(list(answers)),
        f'<div id=gallery style="--pictures: {1 + len(answers)}">',
    ]
    sections += [_figure(shown, answers, place) for place in range(len(shown))]
    sections += ["</div><h2>Classes</h2>", _classes(reports)]
    sections += [
        "<details><summary>Settings, versions, hardware</summary><pre>",
        html.escape(json.dumps({key: first[key] for key in ("protocol", "config", "versions", "hardware")}, indent=1)),
        "</pre></details>",
    ]
    page = PAGE.replace("{body}", "\n".join(sections))
    try:
        pathlib.Path(path).write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def _facts(facts):
    return "<dl>" + "".join(f"<dt>{k}<dd>{html.escape(str(v))}" for k, v in facts.items()) + "</dl>"


def _table(head, rows, name=""):
    cells = lambda row, tag: "<tr>" + "".join(f"<{tag}>{_cell(cell)}</{tag}>" for cell in row) + "</tr>"
    body = "".join(cells(row, "td") for row in rows)
    return f"<div class='wide {name}'><table><thead>{cells(head, 'th')}</thead><tbody>{body}</tbody></table></div>"


def _cell(text):
    """A cell's HTML, an interval small."""
    mean, bracket, interval = html.escape(text).partition("[")
    return f"{mean}<small>{bracket}{interval}</small>" if interval else mean


def _classes(reports):
    head = ["class", "images", *(f"{title}, {r['name']}" for r in reports for title in ("top-1", "CH"))]
    percent = lambda value: "-" if value is None else f"{100 * value:.1f}"
    rows = []
    for name, found in reports[0]["per_class"].items():
        each = [report["per_class"].get(name, {}) for report in reports]
        cells = [percent(one.get(key)) for one in each for key in ("top1", "content_heatmap")]
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
        drawn = overlay(example["image"], answer["heatmap"], answer["box"])
        cells.append(_picture(drawn, example["boxes"], f"{name}: {answer['caption']}"))
        if mistake := answer.get("mistake"):
            drawn = overlay(example["image"], mistake["heatmap"], mistake["box"])
            cells.append(_picture(drawn, example["boxes"], f"{name} {mistake['caption']}"))
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


def _embedded(caption, file):
    source = _data_url("png", file.read_bytes())
    return f'<h2>{html.escape(caption)}</h2><img class=chart src="{source}" alt="{html.escape(caption)}">'


def _data_url(kind, contents):
    return f"data:image/{kind};base64,{base64.b64encode(contents).decode()}"


PAGE = """<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width">
<meta http-equiv=Content-Security-Policy
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'">
<title>Explanations, measured</title>
<style>
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1b1f24 }
h1 { font-size: 1.35rem } h2 { font-size: 1.1rem; margin-top: 2rem }
h1, dd, figcaption { overflow-wrap: anywhere }
dl { display: grid; grid-template-columns: fit-content(45%) minmax(0, 1fr); gap: .15rem 1rem }
dt { color: #57606a } dd { margin: 0 }
.wide, pre { overflow-x: auto } select { max-width: 100% } table { border-collapse: collapse; font-size: .85rem }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #d8dee4; white-space: nowrap }
th:first-child, td:first-child, .scores :is(th, td):last-child { text-align: left }
.chart { max-width: 100% }
#gallery { display: grid; gap: 1rem }
#gallery { grid-template-columns: repeat(auto-fill, minmax(min(100%, calc(var(--pictures) * 8.5rem)), 1fr)) }
figure { margin: 0; min-width: 0; border: 1px solid #d8dee4; border-radius: 6px; padding: .5rem }
figcaption { font-weight: 600; margin-bottom: .3rem } small { color: #57606a; font-weight: 400 }
.row { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: .4rem }
.row span { display: block; font-size: .75rem; overflow-wrap: anywhere } .row img { width: 100% }
</style>
{body}
<script>
const gallery = document.getElementById("gallery");
const key = document.getElementById("key"), down = document.getElementById("down");
function sort() {
  const value = figure => figure.dataset[key.value] === "" ? NaN : Number(figure.dataset[key.value]);
  const figures = [...gallery.children];
  figures.sort((a, b) => {
    const x = value(a), y = value(b);
    if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y);
    return down.checked ? y - x : x - y;
  });
  gallery.append(...figures);
}
key.addEventListener("change", sort);
down.addEventListener("change", sort);
</script>
</html>
"""
