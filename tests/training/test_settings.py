"""Every pair of settings that can be combined, from training to export; and what cannot, refused in a line."""

import functools
import json
import operator

import pytest
from allpairspy import AllPairs

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
            {"decay_exempt": "norm_and_bias"},
            {"ce_views": ("ce",)},
            {"negatives": "global"},
            {"pooling": "max", "hidden_units": (8,)},
            {"explain_layer": "stack1_block0_out"},
            {"sync_batch_norm": True},
            {"early_stopping": 1},
            {"label_smoothing": 0.1},
            {"color_jitter": 0.4},
            {"cache": "memory"},
            {"on_nan": "skip", "strategy": "single"},
        )
    ),
]


def cover():
    """Rows, {setting: value}, in which any two choices stand together somewhere."""
    rows = [functools.reduce(operator.or_, choices) for choices in AllPairs(CHOICES)]
    return [row if "replicas" not in row else {**row, "strategy": "mirrored"} for row in rows]


@pytest.fixture(scope="module")
def fixed(draw_folder, tmp_path_factory):
    """What all runs have in common: two epochs of at least three steps, with a validation split."""
    folder = draw_folder(tmp_path_factory.mktemp("pictures") / "folder", {"train": 8, "validation": 2, "test": 2})
    small = {"image_size": 48, "batch_size": 4, "epochs": 2, "validation_examples": 6, "keep_checkpoints": 1}
    return {"dataset": "folder", "data_dir": str(folder), "backbone": "resnet8", **small}


@pytest.mark.slow
@pytest.mark.parametrize("row", cover(), ids=lambda row: ",".join(f"{name}={value}" for name, value in row.items()))
def test_every_pair_of_settings(row, fixed, tmp_path, programs):
    done = programs.run("tests/helpers/settings_worker.py", tmp_path / "run", json.dumps(fixed | row))
    assert done.returncode == 0, f"{row}\n{done.stderr[-2000:]}"
    result = json.loads(done.stdout)
    assert result["finite"] and result["examples"] == 4, (row, result)
    assert result["starts"] == [0, 2] and result["exported_difference"] < 1e-4, (row, result)
