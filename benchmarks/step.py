"""What CGC costs: its step over three-view cross-entropy, and its loss over the literal one on maps of image size.

  python -m benchmarks.step --output=step.json
  python -m benchmarks.step --device=gpu

Prints medians, and in brackets quartiles, of interleaved runs in one process; seconds are those of all cores together,
on a GPU elapsed ones.
Keys of the JSON, ratios all: `cgc_over_ce3`, seconds of a step of `cgc` over one of `baseline`; `bf16_over_fp32`,
images per second of `mixed_bfloat16` over float32 (faster only where the processor has bfloat16 instructions);
`loss_speedup_b64` and `loss_memory_ratio_b64`, the literal loss, forward and backward, over ours; `heatmap_share`, the
part of a `cgc` step that goes into heatmaps and their loss.
"""

import functools

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip
import keras
import numpy as np
import tensorflow as tf
from absl import flags

from benchmarks import timing
from benchmarks.literal import literal
from cgc_tf.common import graphs, program
from cgc_tf.method import geometry, gradcam, losses
from cgc_tf.method.objective import VIEWS
from cgc_tf.training import device
from cgc_tf.training.config import Config
from cgc_tf.training.new_model import NewModel

SIZE, TEMPERATURE = 224, 0.5


def main(_):
    args = flags.FLAGS
    timing.use(args.device)
    device.keep_freed_memory()
    device.make_deterministic(seed=0)  # as every run is
    ratios = steps(args.backbone, args.batch_size, args.rounds)
    timing.report(ratios | loss_alone([int(size) for size in args.loss_batches]))


def steps(backbone, batch_size, rounds):
    """Times whole training steps, and the share of them that goes into heatmaps; prints a table, returns ratios."""
    batch = random_batch(batch_size)
    kinds = {"baseline": ("baseline",), "cgc": ("cgc",), "cgc, mixed_bfloat16": ("cgc", "mixed_bfloat16")}
    models = {name: build(backbone, *kind) for name, kind in kinds.items()}
    functions = {name: step_of(model, batch) for name, model in models.items()}
    functions["heatmaps and loss"] = heatmaps_of(models["cgc"], batch)
    seconds = timing.rounds_of(functions, rounds, warmup=2)
    title = f"{backbone}, {SIZE} pixels, batch {batch_size}, {timing.unit()}, median of {rounds} interleaved rounds"
    timing.table(title, timing.medians(seconds), batch_size)
    return {
        "cgc_over_ce3": timing.ratio(seconds["cgc"], seconds["baseline"]),
        "bf16_over_fp32": timing.ratio(seconds["cgc"], seconds["cgc, mixed_bfloat16"]),
        "heatmap_share": timing.ratio(seconds["heatmaps and loss"], seconds["cgc"]),
    }


def loss_alone(sizes, cells=7):
    """Times and weighs the loss, forward and backward, against the literal one; prints a table, returns ratios."""
    ratios = {}
    for size in sizes:
        rng = np.random.default_rng(0)
        arrays = [*rng.random((2, size, cells, cells), np.float32), random_transforms(size)]
        builds = {"ours": ours, "literal": literally}
        calls = {name: functools.partial(graphs.function(build), *arrays) for name, build in builds.items()}
        np.testing.assert_allclose(calls["ours"]()[0], calls["literal"]()[0], rtol=1e-4)
        seconds = timing.rounds_of(calls, rounds=15)
        peak = {name: timing.peak_bytes(build, *arrays) for name, build in builds.items()}
        timing.table(
            f"loss alone, {cells}x{cells} heatmaps, {SIZE} pixels, batch {size}", timing.medians(seconds), size
        )
        print(f"  {peak['ours'] / 1e6:.2f} MB, literally {peak['literal'] / 1e6:.2f} MB")
        ratios[f"loss_speedup_b{size}"] = timing.ratio(seconds["literal"], seconds["ours"])
        ratios[f"loss_memory_ratio_b{size}"] = peak["literal"] / peak["ours"]
    return ratios


def ours(original, augmented, transform):
    """The loss in the space of the small heatmaps, and its gradients."""
    positive, pairs = losses.similarities(original, augmented, transform, (SIZE, SIZE))
    loss = tf.reduce_mean(losses.contrastive(positive, pairs, TEMPERATURE))
    return [loss, *tf.gradients(loss, [original, augmented])]


def literally(original, augmented, transform):
    """The loss on maps of image size, and its gradients."""
    loss = tf.reduce_mean(literal(original, augmented, transform, (SIZE, SIZE), TEMPERATURE)[1])
    return [loss, *tf.gradients(loss, [original, augmented])]


def build(backbone, kind, precision="float32"):
    """A compiled `CGCModel` with 100 classes."""
    with device.precision(precision):
        model = NewModel(Config(backbone=backbone, objective=kind)).with_classes(100)
        model.compile(optimizer=keras.optimizers.SGD(1e-3, momentum=0.9))
    return model


def step_of(model, batch):
    """A call that makes one training step and waits for it."""
    step = graphs.function(model.train_step)
    return lambda: step(batch)["loss"].numpy()


def heatmaps_of(model, batch):
    """A call that does what a `cgc` step does beyond cross-entropy: two heatmaps, their loss, and its gradients."""
    features = [tf.constant(model.trunk(batch[view])) for view in ("original", "augmented")]
    weights = model.head.trainable_variables

    @graphs.function
    def explain(original, augmented):
        with tf.GradientTape() as tape:
            tape.watch([original, augmented])
            _, gradients, class_ids = gradcam.class_gradients(model.head, original)
            maps = [gradcam.heatmap("hirescam", original, gradients)]
            _, gradients, _ = gradcam.class_gradients(model.head, augmented, class_ids)
            maps.append(gradcam.heatmap("hirescam", augmented, gradients))
            positive, pairs = losses.similarities(*maps, batch["transform"], (SIZE, SIZE))
            loss = tf.reduce_mean(losses.contrastive(positive, pairs, TEMPERATURE))
        return loss, tape.gradient(loss, [original, augmented, *weights])

    return lambda: explain(*features)[0].numpy()


def random_batch(size):
    """A training batch of noise."""
    rng = np.random.default_rng(0)
    views = {view: tf.constant(rng.integers(0, 256, (size, SIZE, SIZE, 3), np.uint8)) for view in VIEWS}
    return {**views, "transform": tf.constant(random_transforms(size)), "label": tf.range(size)}


def random_transforms(size):
    """T for so many examples, int32 `[B, 5]`."""
    return np.stack([geometry.draw_transform([1, index], SIZE) for index in range(size)]).astype(np.int32)


def define_flags():
    """Defines the flags: what to measure, and how often."""
    timing.define_flags(rounds=5, backbone="The network of the whole steps.")
    flags.DEFINE_enum("device", "cpu", ["cpu", "gpu"], "What to compute on.")
    flags.DEFINE_integer("batch_size", 8, "Their batch size.", lower_bound=1)
    flags.DEFINE_list("loss_batches", ["16", "64", "256"], "Batch sizes of the loss alone.")


if __name__ == "__main__":
    program.run(main)
