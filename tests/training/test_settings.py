"""Every pair of settings that can be combined, from training to export; and what cannot, refused in a line."""

import functools
import json
import operator

import pytest
from allpairspy import AllPairs

from cgc_tf.networks import backbones
from cgc_tf.training import device
from cgc_tf.training.config import Config

REST = {"unlabeled_dataset": "folder", "labeled_fraction": 0.5}
# Settings that exclude each other stand in one line, so that every choice goes with every choice of another line.
CHOICES = [
    [{}, {"replicas": 2}, {"xla": True}, {"accumulate_steps": 2}, {"accumulate_steps": 2, "xla": True}],
    [
        {"objective": "cgc"},
        {"objective": "baseline"},
        {"objective": "cgc_no_negatives"},
        {"objective": "cgc", "explain_class": "label"},
        {"objective": "cgc", **REST},
    ],
    [{"precision": "float32"}, {"precision": "mixed_float16"}, {"precision": "mixed_bfloat16"}],
    [{"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"momentum": 0.0}, {"optimizer": "adamw"}],
    [{"cam": "hirescam"}, {"cam": "gradcam"}, {"cam": "gradcam++"}, {"cam": "layercam"}],
    [{"schedule": "cosine"}, {"schedule": "step", "step_epochs": (1.0,)}, {"schedule": "constant"}],
    *(
        [{}, other]
        for other in (
            {"ema_momentum": 0.5},
            {"head_learning_rate": 0.02},
            {"clip_norm": 1.0},
            {"warmup_epochs": 0.5},
            {"lambda_warmup_steps": 3},
            {"similarity": "correlation"},
            {"decay_exempt": "norm_and_bias"},
            {"ce_views": ("ce",)},
            {"rand_augment": 2, "random_erasing": 0.5},
            {"negatives": "global"},
            {"pooling": "max", "hidden_units": (8,)},
            {"freeze": "stages"},
            {"explain_layer": "stack1_block0_out"},
            {"sync_batch_norm": True},
            {"deterministic": False},
            {"early_stopping": 1},
            {"label_smoothing": 0.1},
            {"color_jitter": 0.4},
            {"cache": "memory"},
            {"data_dir": "undivided", "test_fraction": 0.125, "validation_fraction": 0.125},
            {"objects": "boxes.csv"},
            {"callback": "keras.callbacks:TerminateOnNaN"},
            {"on_nan": "skip", "strategy": "single"},
        )
    ),
]


def cover():
    """Rows, {setting: value}, in which any two choices stand together somewhere."""
    rows = [functools.reduce(operator.or_, choices) for choices in AllPairs(CHOICES)]
    return [row if "replicas" not in row else {**row, "strategy": "mirrored"} for row in rows]


@pytest.fixture(scope="module")
def root(draw_folder, tmp_path_factory):
    """Where two folders of pictures are, and weights to start from."""
    root = tmp_path_factory.mktemp("settings")
    draw_folder(root / "divided", {"train": 8, "validation": 2, "test": 2})
    draw_folder(root / "undivided", {".": 16})
    backbones.build_backbone("resnet8", "none", 48).save_weights(root / "resnet8.weights.h5")
    return root


def settings_of(row, root):
    """All settings of a run: two epochs of at least three steps, with a validation split."""
    folder = root / row.get("data_dir", "divided")
    paths = {name: str(folder / row[name]) for name in ("objects",) if name in row}
    network = {"backbone": "resnet8", "weights": str(root / "resnet8.weights.h5")}
    small = {"image_size": 48, "batch_size": 4, "epochs": 2, "validation_examples": 6, "keep_checkpoints": 1}
    return {"dataset": "folder", **network, **small, **row, "data_dir": str(folder), **paths}


@pytest.mark.long
@pytest.mark.parametrize("row", cover(), ids=lambda row: ",".join(f"{name}={value}" for name, value in row.items()))
def test_every_pair_of_settings(row, root, tmp_path, programs):
    settings = json.dumps(settings_of(row, root))
    done = programs.run("tests/helpers/settings_worker.py", tmp_path / "run", settings)
    assert done.returncode == 0, f"{row}\n{done.stderr[-2000:]}"
    result = json.loads(done.stdout)
    assert result["finite"] and result["examples"] == 4, (row, result)
    assert result["starts"] == [0, 2] and result["exported_difference"] < 1e-4, (row, result)


def test_operations_are_deterministic_unless_told_otherwise(monkeypatch):
    asked = []
    monkeypatch.setattr(device, "make_deterministic", lambda *arguments: asked.append(arguments))
    device.seed(Config(seed=3))
    device.seed(Config(seed=4, deterministic=False))
    assert asked == [(3, False)]
