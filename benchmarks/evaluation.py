"""What measuring explanations costs over the forward passes that it cannot do without.

  python -m benchmarks.evaluation --output=evaluation.json

Prints medians, and in brackets quartiles, of interleaved runs in one process. Keys of the JSON, ratios of the seconds
of all cores together: `insertion_over_forwards`, Insertion AUC, blur, ranking and area included, over its 29 forward
passes of the same batch; `ch_over_forward`, Content Heatmap on whole images over one forward pass of them;
`over_literal_rise`, our Insertion AUC over RISE's loop as it is usually written: an image at a time, in NumPy, one
forward pass a step (below 1 is faster).
"""

import cgc_tf.common.quiet_tensorflow  # noqa: F401  # isort: skip

import numpy as np
import tensorflow as tf
from absl import flags
from scipy import ndimage

from benchmarks import timing
from cgc_tf.common import graphs, program
from cgc_tf.evaluation import curves, explainers
from cgc_tf.method import metrics
from cgc_tf.training import device
from cgc_tf.training.config import Config
from cgc_tf.training.new_model import NewModel

SIZE, WHOLE = 224, (448, 597)


def main(_):
    timing.use("cpu")
    device.keep_freed_memory()
    batch, rounds = flags.FLAGS.batch_size, flags.FLAGS.rounds
    model = NewModel(Config(backbone=flags.FLAGS.backbone)).with_classes(100)

    @graphs.function(reduce_retracing=True)
    def probabilities(images):
        return tf.nn.softmax(model(images, training=False))

    seconds = time_insertion(probabilities, batch, rounds)
    seconds |= time_content_heatmap(probabilities, explainers.make("", model), batch, 2 * rounds + 1)
    title = f"{flags.FLAGS.backbone}, batch {batch}, seconds of a core, median of {rounds} interleaved rounds"
    timing.table(title, timing.medians(seconds), batch)
    timing.report(
        {
            "insertion_over_forwards": timing.ratio(seconds["insertion"], seconds["forwards"]),
            "ch_over_forward": timing.ratio(seconds["content heatmap"], seconds["forward of whole images"]),
            "over_literal_rise": timing.ratio(seconds["insertion"], seconds["literal"]),
        }
    )


def time_insertion(probabilities, batch, rounds):
    """Seconds of Insertion AUC, of RISE's loop, which gives the same, and of the forward passes alone: a dict."""
    rng = np.random.default_rng(0)
    images = tf.constant(rng.integers(0, 256, (batch, SIZE, SIZE, 3), np.uint8))
    heatmaps = tf.constant(rng.random((batch, 7, 7), np.float32))
    class_ids = tf.argmax(probabilities(images), -1, output_type=tf.int32)
    floats = tf.cast(images, tf.float32)

    @graphs.function
    def areas(*tensors):
        return curves.area_under(curves.insertion(probabilities, *tensors))

    def forwards():
        for _ in range(curves.STEPS + 1):
            probabilities(floats).numpy()

    def insertion():
        return areas(images, heatmaps, class_ids).numpy()

    def literally():
        return literal(probabilities, images.numpy(), metrics.upsample(heatmaps, [SIZE, SIZE]).numpy(), class_ids)

    np.testing.assert_allclose(insertion(), literally(), atol=1e-4)
    return timing.rounds_of({"forwards": forwards, "insertion": insertion, "literal": literally}, rounds)


def time_content_heatmap(probabilities, explain, batch, rounds):
    """Seconds of Content Heatmap on whole images, and of their forward pass alone: a dict."""
    images = tf.constant(np.random.default_rng(1).integers(0, 256, (batch, *WHOLE, 3), np.uint8))
    class_ids = tf.argmax(probabilities(images), -1, output_type=tf.int32)
    region = np.zeros([batch, 375, 500], np.float32)
    region[:, 100:300, 120:400] = 1

    def forward():
        return probabilities(images).numpy()

    def content_heatmap():
        return metrics.content_heatmap(explain(images, class_ids), tf.constant(region))[0].numpy()

    return timing.rounds_of({"forward of whole images": forward, "content heatmap": content_heatmap}, rounds)


def literal(probabilities, images, saliency, class_ids):
    """Insertion AUC `[B]` an image at a time: RISE's loop, on uint8 `[B, S, S, 3]` and saliency `[B, S, S]`."""
    impulse = np.zeros([11, 11])
    impulse[5, 5] = 1
    kernel = ndimage.gaussian_filter(impulse, 5)[..., None]
    neutral, steps, areas = curves.neutral_color().numpy(), curves.STEPS, []
    for image, heat, class_id in zip(images.astype(np.float32), saliency, class_ids, strict=True):
        mixed = ndimage.convolve(image - neutral, kernel, mode="constant") + neutral
        mixed, finish = mixed.reshape(-1, 3).astype(np.float32), image.reshape(-1, 3)
        order = np.argsort(-heat.ravel(), kind="stable")
        scores = []
        for step in range(steps + 1):
            scores.append(probabilities(tf.constant(mixed.reshape(1, *image.shape)))[0, class_id].numpy())
            chosen = order[len(order) * step // steps : len(order) * (step + 1) // steps]
            mixed[chosen] = finish[chosen]
        areas.append((np.sum(scores) - scores[0] / 2 - scores[-1] / 2) / steps)
    return np.array(areas)


def define_flags():
    """Defines the flags: what to measure, and how often."""
    timing.define_flags(rounds=5)
    flags.DEFINE_integer("batch_size", 4, "Images at a time.", lower_bound=1)


if __name__ == "__main__":
    program.run(main)
