"""README.md of an exported version on the Hugging Face Hub: metadata that the Hub reads, then what people do."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from cgc_tf.common.errors import first_few
from cgc_tf.report import tables
from cgc_tf.report.results import COLUMNS, METRICS

TAGS = ["tensorflow", "saved-model", "grad-cam", "explainability"]
METHOD = (
    "It was trained by Contrastive Grad-CAM Consistency{variant}\n"
    "([Pillai et al., CVPR 2022](https://arxiv.org/abs/2110.00527)), so that its heatmaps agree with themselves."
)
METHODS = {"cgc": METHOD.format(variant=""), "cgc_no_negatives": METHOD.format(variant=", without negatives,")}
# The Hub's name for what TensorFlow loads and Keras 3 does not.
LIBRARY = "tf-keras"
SETTINGS = ("backbone", "weights", "objective", "epochs", "batch_size", "learning_rate", "image_size", "seed")

TEXT = """---
{metadata}
---

# {name}

An image classifier of {classes} classes that shows where it looked: each picture is answered with a prediction and a
heatmap. {method}

Classes: {names} (`assets/labels.txt` has all, in order).

## Use

It is a TensorFlow SavedModel (written by TensorFlow {tensorflow}), which takes pictures as JPEG or PNG files. Besides
`huggingface_hub`, TensorFlow is all it needs:

```python
import huggingface_hub
import tensorflow as tf

model = tf.saved_model.load(huggingface_hub.snapshot_download("{repo}"))
with open("picture.jpg", "rb") as file:
    answer = model.signatures["explain"](image_bytes=tf.constant([file.read()]))
print(answer["label"][0].numpy().decode(), float(answer["score"][0]))
heatmap = answer["heatmap"][0]  # coarse, 0 to 1, of the part answer["heatmap_box"][0] of the picture
```

TensorFlow Serving serves it from a numbered folder: `hf download {repo} --local-dir exported/1`.

## Results

{results}

## Training

{training}
"""


def readme(card: Mapping[str, Any], names: Sequence[str], repo: str, license: str = "unknown") -> str:
    """What is to be known of a version, as Markdown with the Hub's metadata in YAML at its top.

    Args:
        card: the version's model card, as `model_card.read` gives it.
        names: of its classes.
        repo: USER/NAME, where it is going to be.
        license: an identifier of the Hub's.
    """
    known = card["configuration"] or {}
    trained = [f"`--{name}={known[name]}`" for name in SETTINGS if known.get(name) not in (None, "")]
    data = f"Trained on {_data(card)}." if _data(card) else "What it was trained on is not known."
    return TEXT.format(
        metadata=_metadata(card, repo, license).to_yaml(),
        name=card["name"],
        classes=card["data"]["classes"],
        method=METHODS.get(known.get("objective") or "", ""),
        names=first_few([f"`{name}`" for name in names], 10),
        tensorflow=card["versions"]["tensorflow"],
        repo=repo,
        results=_results(card),
        training=f"{data} {' '.join(trained)}".strip(),
    )


def _metadata(card, repo, license):
    from huggingface_hub import EvalResult, ModelCardData

    metrics, dataset = card["metrics"], card["data"]["dataset"]
    of = {"task_type": "image-classification", "dataset_type": dataset, "dataset_name": _data(card)}
    results = [
        EvalResult(
            **of,
            dataset_split=metrics["split"],
            metric_type="accuracy" if name == "top1" else name,
            metric_name=METRICS[name].title,
            metric_value=metrics[name],
        )
        for name in COLUMNS
        if metrics.get(name) is not None
    ]
    return ModelCardData(
        license=license,
        library_name=LIBRARY,
        pipeline_tag="image-classification",
        tags=TAGS,
        datasets=[dataset] if dataset not in (None, "folder") else None,  # a folder has no name that others know
        metrics=["accuracy"] if results else None,
        model_name=repo.split("/")[-1],
        eval_results=results or None,
    )


def _data(card):
    """What a version was trained on, in words; None where nobody knows."""
    return "a folder of pictures" if card["data"]["dataset"] == "folder" else card["data"]["dataset"]


def _results(card):
    metrics = card["metrics"]
    if not metrics:
        return f"Not measured: {card['no_metrics']}."
    of = f"On {metrics['examples']} pictures, the whole {metrics['split']} split; in percent, with intervals of 95%."
    found = collections.defaultdict(lambda: None, metrics["statistics"])  # of which an older version has fewer
    report = {**metrics, "statistics": found, "config": card["configuration"]}
    return f"{of}\n\n{tables.markdown(*tables.every_score([report]))}".strip()
