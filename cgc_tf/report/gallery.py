"""The page's pictures: examples with their heatmaps, and what is left where the object is hidden."""

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence

import cv2
import matplotlib
import numpy as np
from PIL import Image

from cgc_tf.method.overlay import BOX_COLOR, COLORS, overlay
from cgc_tf.report import confusion

SIDE = 224  # pixels of a picture, the longer side at most


def figures(shown: Sequence[Mapping], answers: Mapping[str, Sequence[Mapping]]) -> list[str]:
    """A figure's HTML for each example, with each model's heatmaps; both are as `page.write` takes them."""
    return [_figure(shown, answers, place) for place in range(len(shown))]


def _figure(shown, answers, place):
    example, each = shown[place], {name: explained[place] for name, explained in answers.items()}
    shares = [answer["content_heatmap"] for answer in each.values()]
    values = {"place": -place, "gain": shares[-1] - shares[0], **{f"ch{i}": share for i, share in enumerate(shares)}}
    data = " ".join(f'data-{key}="{"" if np.isnan(value) else round(value, 5)}"' for key, value in values.items())
    cells = [confusion.pair(name, answer["label"], answer["predicted"]) for name, answer in each.items()]
    title = example["title"]
    pictures = [picture(example["image"], "image", f"{title}, the picture", example["boxes"])]
    for name, answer in each.items():
        captions = {f"{name}: {answer['caption']}": answer}
        if mistake := answer.get("mistake"):
            captions[f"{name} {mistake['caption']}"] = mistake
        for caption, one in captions.items():
            drawn = overlay(example["image"], one["heatmap"], one["box"])
            pictures.append(picture(drawn, caption, f"{title} under a heatmap, {caption}", example["boxes"]))
    identity = example["id"].decode() if isinstance(example["id"], bytes) else str(example["id"])
    return (
        f'<figure {data} data-id="{html.escape(identity)}" data-cells="{html.escape(json.dumps(cells))}"><figcaption>'
        f"{html.escape(title)} <small>{html.escape(identity)}</small></figcaption>"
        f"<div class=row>{''.join(pictures)}</div></figure>"
    )


def picture(image: np.ndarray, caption: str, alt: str, boxes: Sequence[Sequence[float]] = ()) -> str:
    """The HTML of an image, uint8 `[H, W, 3]`, with boxes drawn on it, a caption below, and what it shows in words."""
    factor = min(1.0, SIDE / max(image.shape[:2]))
    height, width = (max(1, round(length * factor)) for length in image.shape[:2])
    image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    for ymin, xmin, ymax, xmax in np.asarray(boxes):
        corners = (round(xmin * width), round(ymin * height)), (round(xmax * width) - 1, round(ymax * height) - 1)
        cv2.rectangle(image, *corners, BOX_COLOR, 1)
    with io.BytesIO() as stream:
        Image.fromarray(image).save(stream, "JPEG", quality=88)
        source = data_url("jpeg", stream.getvalue())
    return f'<div><img src="{source}" alt="{html.escape(alt)}"><span>{html.escape(caption)}</span></div>'


def scale() -> str:
    """The HTML of the scale of a heatmap's colors."""
    colors = ", ".join(matplotlib.colors.to_hex(color) for color in COLORS(np.linspace(0, 1, 9)))
    return (
        '<p class=scale>heatmap: nothing <span role=img aria-label="from black over purple and orange to yellow" '
        f'style="background: linear-gradient(90deg, {colors})"></span> its peak; the object\'s box is green</p>'
    )


def data_url(kind: str, contents: bytes) -> str:
    """An image file's contents as an address within the page."""
    return f"data:image/{kind};base64,{base64.b64encode(contents).decode()}"
