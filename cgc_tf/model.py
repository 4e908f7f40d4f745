"""CGCModel: a classifier that is trained to explain itself consistently."""

import keras
import tensorflow as tf

from cgc_tf import gradcam, losses, metrics

OBJECTIVES = ("cgc", "baseline", "cgc_no_negatives")


class CGCModel(keras.Model):
    """A trunk and a head, trained by Contrastive Grad-CAM Consistency (CVPR 2022) through `fit`.

    Args:
        trunk: `keras.Model`, images `[B, H, W, 3]` in 0..255 -> features `[B, h, w, C]`.
        head: `keras.Model`, features -> logits `[B, classes]`.
        objective: "cgc"; "baseline", the three views' cross-entropy alone; or "cgc_no_negatives".
        lambda_cgc: weight of the consistency term, >= 0.
        temperature: tau of the contrastive loss, > 0.

    A training batch is a dict: `ce`, `original`, `augmented` (`[B, S, S, 3]`), `transform` (int32 `[B, 5]`, from
    `original` to `augmented`) and `label` (int `[B]`). A validation batch is `image`, `label` and, where the
    objects are known, `region` (`[B, S, S]`).
    """

    def __init__(self, trunk, head, objective="cgc", lambda_cgc=0.5, temperature=0.5, **kwargs):
        super().__init__(**kwargs)
        if objective not in OBJECTIVES:
            raise ValueError(f"objective must be one of {OBJECTIVES}. Received: objective={objective!r}")
        if lambda_cgc < 0 or temperature <= 0:
            raise ValueError(
                "lambda_cgc must be >= 0 and temperature > 0. "
                f"Received: lambda_cgc={lambda_cgc}, temperature={temperature}"
            )
        self.trunk, self.head = trunk, head
        self.objective, self.lambda_cgc, self.temperature = objective, lambda_cgc, temperature
        names = ("loss", "cross_entropy", "consistency")
        self.means = {name: keras.metrics.Mean(name=name) for name in names}
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.content_heatmap = keras.metrics.Mean(name="content_heatmap")

    def call(self, images, training=False):
        """Logits, float32 `[B, classes]`, of images `[B, H, W, 3]` in 0..255."""
        return self.head(self.trunk(images, training=training), training=training)

    def explain(self, images, class_ids=None):
        """Predictions and heatmaps, in inference mode.

        Args:
            images: `[B, H, W, 3]` in 0..255.
            class_ids: int `[B]`, the classes to explain; None explains the predicted class.

        Returns:
            A dict: `probabilities` float32 `[B, classes]`, `class_id` int32 `[B]` (the class explained), `heatmap`
            float32 `[B, h, w]`, >= 0.
        """
        logits, heatmaps, class_ids = self._explained(images, class_ids, training=False)
        return {"probabilities": tf.nn.softmax(logits), "class_id": class_ids, "heatmap": heatmaps}

    def train_step(self, batch):
        """One step of three views: the sum of their cross-entropies plus lambda times the consistency term."""
        with tf.GradientTape() as tape:
            terms, logits = self._terms(batch)
            # The optimizer sums gradients over replicas, each of which averaged over its own examples.
            scaled = self.optimizer.scale_loss(terms["loss"] / self.distribute_strategy.num_replicas_in_sync)
        gradients = tape.gradient(scaled, self.trainable_variables)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))
        for name, value in terms.items():
            self.means[name].update_state(value)
        self.accuracy.update_state(batch["label"], logits)
        return {m.name: m.result() for m in (*self.means.values(), self.accuracy)}

    def test_step(self, batch):
        """Cross-entropy, accuracy and Content Heatmap of the labelled class on a batch of centre crops."""
        logits, heatmaps, _ = self._explained(batch["image"], batch["label"], training=False)
        self.means["loss"].update_state(_cross_entropy(batch["label"], logits))
        self.accuracy.update_state(batch["label"], logits)
        measured = [self.means["loss"], self.accuracy]
        if "region" in batch:
            share, valid = metrics.content_heatmap(heatmaps, batch["region"])
            located = valid & tf.reduce_any(batch["region"] > 0, [1, 2])
            self.content_heatmap.update_state(share, sample_weight=tf.cast(located, tf.float32))
            measured.append(self.content_heatmap)
        return {m.name: m.result() for m in measured}

    def _terms(self, batch):
        """The terms of the objective as scalars, this replica's means, and the logits of view `ce`."""
        label = batch["label"]
        logits = self(batch["ce"], training=True)
        if self.objective == "baseline":
            views = [self(batch[view], training=True) for view in ("original", "augmented")]
            consistency = tf.zeros([])
        else:
            of_original, original, class_ids = self._explained(batch["original"], None, training=True)
            of_augmented, augmented, _ = self._explained(batch["augmented"], class_ids, training=True)
            views = [of_original, of_augmented]
            consistency = self._consistency(original, augmented, batch)
        cross_entropy = tf.add_n([_cross_entropy(label, x) for x in (logits, *views)])
        loss = cross_entropy + self.lambda_cgc * consistency
        return {"loss": loss, "cross_entropy": cross_entropy, "consistency": consistency}, logits

    def _consistency(self, original, augmented, batch):
        size = batch["original"].shape[1]
        positive, pairs = losses.similarities(original, augmented, batch["transform"], size)
        if self.objective == "cgc":
            return tf.reduce_mean(losses.contrastive(positive, pairs, self.temperature))
        return tf.reduce_mean(losses.no_negatives(positive))

    def _explained(self, images, class_ids, training):
        features = self.trunk(images, training=training)
        head = lambda x: self.head(x, training=training)
        logits, gradients, class_ids = gradcam.class_gradients(head, features, class_ids)
        return logits, gradcam.hirescam(features, gradients), class_ids


def _cross_entropy(label, logits):
    """The mean cross-entropy of a batch, a float32 scalar."""
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(label, logits))
