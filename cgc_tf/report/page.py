"""report.html: what a model looks at, in plain words, and all that this rests on; one file that needs no network."""

import dataclasses
import html
import json
import pathlib
import re
from collections.abc import Mapping, Sequence

from cgc_tf.common import files
from cgc_tf.report import confusion, gallery, page_tables, tables, verdict

FIRST = 8  # mistakes that are seen at once


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The page's images.

    Attributes:
        gallery: `(shown, answers)`: dicts of `image` uint8 `[H, W, 3]`, `boxes` `[n, 4]`, `id` and `title`; and
            {model's name: a list parallel to them, of dicts: `heatmap` `[h, w]`, the `box` of the image that it covers,
            `caption`, `label` and `predicted`, names of classes, `content_heatmap`, a float or NaN, and `mistake`, the
            same of the class that was predicted wrongly, or None}.
        mistakes: the most confident mistakes, likewise.
        backgrounds: {model's name: dicts of `image`, its object hidden, and `caption`}.
        cells: what `confusion.images` lists of every model.
    """

    gallery: tuple[Sequence[Mapping], Mapping[str, Sequence[Mapping]]]
    mistakes: tuple[Sequence[Mapping], Mapping[str, Sequence[Mapping]]]
    backgrounds: Mapping[str, Sequence[Mapping]]
    cells: Mapping[str, list]


def write(
    path: files.PathLike,
    reports: Sequence[Mapping],
    comparisons: Sequence[Mapping],
    charts: Mapping[str, files.PathLike],
    pictures: Pictures,
) -> None:
    """Writes the page.

    Args:
        path: the file.
        reports: what evaluation.json says of each model.
        comparisons: as `results.compare` gives them.
        charts: {caption: a PNG's path}, to embed.
        pictures: the images, whose names of models are in the order of the reports.

    Raises:
        UserError: it cannot be written.
    """
    names = list(pictures.gallery[1])
    sections = [
        f"<h1>{html.escape(' · '.join(tables.label(report) for report in reports))}</h1>",
        *(_verdict(name, report, pictures) for name, report in zip(names, reports, strict=True)),
        *_mistakes(reports, names, pictures),
        "<h2>Scores</h2><p>Percent, with the 95% bootstrap interval over images. Arrows: what is better. "
        "What a measure is stands behind its name.",
        page_tables.scores(reports),
    ]
    if comparisons:
        sections += ["<h2>Paired differences</h2>", page_tables.table(*tables.differences(comparisons, reports))]
    sections += [_chart(caption, names, pathlib.Path(file)) for caption, file in charts.items()]
    sections += [page_tables.randomization(report) for report in reports if report["randomization"]]
    sections += [
        "<h2>Classes</h2>",
        page_tables.classes(reports),
        *_gallery(reports[0], pictures),
        "<h2>What this is of</h2>",
        _facts(reports),
        _settings(reports[0]),
    ]
    template = pathlib.Path(__file__).with_name("page.html").read_text("utf-8")
    parts = {
        "{body}": "\n".join(sections),
        "{cells}": json.dumps(pictures.cells).replace("<", "\\u003c"),  # an id may hold the end of a script
    }
    with files.reported(path):
        files.write(path, re.sub("{body}|{cells}", lambda found: parts[found[0]], template))


def _verdict(name, report, pictures):
    lines = "".join(f"<li>{html.escape(line)}" for line in verdict.evidence(report))
    parts = [f"<section class=verdict><h2>{html.escape(verdict.headline(name, report['background']))}</h2>"]
    parts.append(f"<p>Measured on {html.escape(tables.images(report))}.</p><ul>{lines}</ul>")
    if left := pictures.backgrounds.get(name):
        shown = "".join(
            gallery.picture(one["image"], one["caption"], f"Object hidden: {one['caption']}") for one in left
        )
        parts.append(f"<p>With the object hidden, it still says:</p><div class=strip>{shown}</div>")
    if found := report["background"]:
        rows = page_tables.backgrounds(found)
        parts.append(
            f"<details><summary>How this is decided, class by class</summary><p>{verdict.RULE}</p>{rows}</details>"
        )
    return "".join([*parts, "</section>"])


def _mistakes(reports, names, pictures):
    yield "<h2>What is taken for what</h2><p>Choose a number to see its pictures.</p><div class=matrices>"
    for name, report in zip(names, reports, strict=True):
        yield confusion.matrix(report, name)
    yield "</div><div id=cell aria-live=polite></div>"
    shown, drawn = pictures.mistakes[0], gallery.figures(*pictures.mistakes)
    if not shown:
        return
    style = f'class=figures style="--pictures: {1 + 2 * len(names)}"'
    yield "<h2>The most confident mistakes</h2><p>The surest of each pair of classes; the heatmaps of both.</p>"
    yield f"{gallery.scale()}<div {style}>{''.join(drawn[:FIRST])}</div>"
    if rest := drawn[FIRST:]:
        yield f"<details><summary>{len(rest)} more</summary><div {style}>{''.join(rest)}</div></details>"


def _gallery(first, pictures):
    shown, answers = pictures.gallery
    yield f"<h2>Gallery</h2><p>{len(shown)} of the {first['examples']} images.{gallery.scale()}"
    yield _sorting(list(answers))
    yield f'<div id=gallery class=figures style="--pictures: {1 + len(answers)}">'
    yield "".join([*gallery.figures(shown, answers), "</div>"])


def _settings(report):
    settings = {key: report[key] for key in ("protocol", "config", "versions", "hardware")}
    text = html.escape(json.dumps(settings, indent=1))
    return f"<details><summary>Settings, versions, hardware</summary><pre>{text}</pre></details>"


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


def _sorting(names):
    options = ['<option value="place">order of the choice</option>']
    if len(names) > 1:
        options.append('<option value="gain">CH difference, last less first</option>')
    options += [f'<option value="ch{i}">CH of {html.escape(name)}</option>' for i, name in enumerate(names)]
    return (
        f"<p><label>sort by <select id=key>{''.join(options)}</select></label> "
        "<label><input type=checkbox id=down checked> highest first</label></p>"
    )


def _chart(caption, names, file):
    source, alt = (
        gallery.data_url("png", file.read_bytes()),
        f"{caption} of {', '.join(names)}: the means are under Scores",
    )
    return f'<h2>{html.escape(caption)}</h2><img class=chart src="{source}" alt="{html.escape(alt)}">'
