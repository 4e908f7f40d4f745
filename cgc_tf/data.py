"""From a source to batches: the three views of training, and the centre crops of validation.

  python -m cgc_tf.data --dataset=toy_aircraft --output=sheet.png

draws a sheet of a dataset's examples with their boxes.
"""

import functools

import cgc_tf.quiet  # noqa: F401  # isort: skip
import tensorflow as tf
from absl import flags

from cgc_tf import errors, geometry

PARALLEL = tf.data.AUTOTUNE


def training_batches(source, image_size, batch_size, seed, epochs, first_epoch=0):
    """Batches of the three views of the reference recipe, epoch after epoch.

    A view depends on the run's seed, the epoch and the example's id alone, so a resumed run sees what an
    undisturbed one would have seen. The examples that do not fill an epoch's last batch wait for another epoch.

    Args:
        source: a `Source`.
        image_size: the side S of the views in pixels.
        batch_size: examples in a batch, over all replicas.
        seed, epochs, first_epoch: ints; epochs are counted from `first_epoch` up to, not including, `epochs`.

    Returns:
        A `tf.data.Dataset` of dicts: `ce`, `original`, `augmented` uint8 `[B, S, S, 3]`, `transform` int32 `[B, 5]`,
        `label` int32 `[B]`.
    """
    examples, size = source.examples("train"), source.sizes["train"]
    in_epoch = size // batch_size * batch_size
    orders = [
        examples.shuffle(size, seed=seed * 1_000_003 + epoch, reshuffle_each_iteration=False).take(in_epoch)
        for epoch in range(first_epoch, epochs)
    ]

    def views(index, example):
        return training_views(source.decode(example), [seed, first_epoch + index // in_epoch], image_size)

    stream = functools.reduce(tf.data.Dataset.concatenate, orders).enumerate()
    return stream.map(views, PARALLEL).batch(batch_size, drop_remainder=True).prefetch(PARALLEL)


def training_views(example, seed, size):
    """The three views of one example (reference implementation, UCDvision/CGC).

    Args:
        example: a decoded example of a `Source`.
        seed: int `[2]`: the run's seed and the epoch.
        size: the side of the views in pixels.

    Returns:
        `ce`: a random crop of the file, flipped or not; `original`: its centre view; `augmented`: `transform` of
        `original`; and `label`.
    """
    image = example["image"]
    shape = tf.shape(image)
    key = tf.strings.to_hash_bucket_fast(example["id"], 2**31 - 1)
    seeds = tf.random.split(tf.random.fold_in(tf.cast(seed, tf.int64), key), 3)
    flip = tf.cast(tf.random.stateless_uniform([1], seeds[0]) < 0.5, tf.int32)
    crop = geometry.draw_crop(seeds[1], shape[0], shape[1])
    original, _ = original_view(image, size)
    transform = geometry.draw_transform(seeds[2], size)
    return {
        "ce": geometry.transform_image(image, tf.concat([crop, flip], 0), size),
        "original": original,
        "augmented": geometry.transform_image(original, transform, size),
        "transform": transform,
        "label": example["label"],
    }


def original_view(image, size):
    """The evaluation view of an image: shorter side to 256/224 of `size`, then the central square.

    Returns:
        `(view, box)`: uint8 `[size, size, 3]`, and float32 `[4]`, the part of the image that it shows.
    """
    shape = tf.shape(image)
    resized, box = geometry.centre_view(shape[0], shape[1], size)
    start = tf.cast(tf.round(box[:2] * tf.cast(resized, tf.float32)), tf.int32)
    view = tf.slice(geometry.resize_image(image, resized), tf.concat([start, [0]], 0), [size, size, 3])
    return tf.ensure_shape(view, [size, size, 3]), box


def validation_batches(source, split, image_size, batch_size, limit=None):
    """Batches of centre views, in the source's order, the last one perhaps smaller.

    Args:
        limit: how many examples at most, spread evenly over the split; None for all.

    Returns:
        A `tf.data.Dataset` of dicts: `image` uint8 `[B, S, S, 3]`, `label` int32 `[B]` and, where the source has
        boxes, `region` float32 `[B, S, S]`, the union of the example's boxes as seen in the view.
    """

    def centred(example):
        example = source.decode(example)
        image, box = original_view(example["image"], image_size)
        batch = {"image": image, "label": example["label"]}
        if source.has_boxes:
            boxes = geometry.crop_boxes(example["boxes"], box)
            batch["region"] = geometry.boxes_to_region(boxes, image_size, image_size)
        return batch

    examples = spread(source.examples(split), source.sizes[split], limit)
    return examples.map(centred, PARALLEL).batch(batch_size).prefetch(PARALLEL)


def spread(examples, size, limit=None):
    """At most `limit` of a dataset's `size` examples, evenly spread over it; None for all."""
    if not limit or limit >= size:
        return examples
    return examples.shard(size // limit, 0).take(limit)


def main(_):
    """Draws a sheet of a dataset's examples with their boxes, to look at."""
    from cgc_tf import figures, sources

    source = sources.load(flags.FLAGS.dataset, flags.FLAGS.data_dir)
    split, count = flags.FLAGS.split, 16
    if split not in source.sizes:
        raise errors.UserError(f"--split={split}: {source.name} has {', '.join(source.sizes)}")
    examples = spread(source.examples(split), source.sizes[split], count).map(source.decode)
    shown = [
        {**example, "title": source.class_names[example["label"]].replace("_", " ")}
        for example in examples.as_numpy_iterator()
    ]
    figures.contact_sheet(flags.FLAGS.output, shown, columns=8)
    counts = ", ".join(f"{size} {name}" for name, size in source.sizes.items())
    print(f"{source.name}: {len(source.class_names)} classes; {counts}\nsheet: {flags.FLAGS.output}")


if __name__ == "__main__":
    flags.DEFINE_string("dataset", "toy_aircraft", "The dataset to draw.")
    flags.DEFINE_string("data_dir", None, "Where it is, as for train.py.")
    flags.DEFINE_string("split", "train", "The split to draw.")
    flags.DEFINE_string("output", "sheet.png", "The file to write.")
    errors.run(main)
