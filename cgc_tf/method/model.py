"""CGCModel: a classifier that is trained to explain itself consistently."""

import dataclasses

import keras
import tensorflow as tf

from cgc_tf.method import gradcam, losses, metrics, nonfinite
from cgc_tf.method.objective import Objective
from cgc_tf.method.trunk_and_head import split


@keras.saving.register_keras_serializable("cgc_tf")
class CGCModel(keras.Model):
    """A trunk and a head, trained by Contrastive Grad-CAM Consistency (CVPR 2022) through `fit`.

    >>> from cgc_tf.data.batches import view_batches
    >>> images, labels = np.random.default_rng(0).integers(0, 256, (8, 40, 60, 3), np.uint8), np.arange(8) % 4
    >>> layers = [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    >>> classifier = keras.Sequential([keras.Input((32, 32, 3)), *layers, keras.layers.Dense(4)])
    >>> model = CGCModel.from_classifier(classifier, objective=Objective(lambda_cgc=1.0))
    >>> model.compile(optimizer="sgd")
    >>> pictures = tf.data.Dataset.from_tensor_slices((images, labels))
    >>> history = model.fit(view_batches(pictures, image_size=32, batch_size=4), verbose=0)
    >>> model.explain(np.zeros((2, 32, 32, 3), "float32"))["heatmap"].shape
    TensorShape([2, 30, 30])

    Args:
        trunk: `keras.Model`, images `[B, H, W, 3]` in 0..255 -> features `[B, h, w, C]`.
        head: `keras.Model`, features -> logits `[B, classes]`.
        objective: an `Objective`.

    A training batch is a dict: `ce`, `original`, `augmented` (`[B, S, S, 3]`), `transform` (int32 `[B, 5]`, from
    `original` to `augmented`) and `label` (int `[B]`). With `unlabeled`, a dict of `original`, `augmented` and
    `transform`, the consistency term is that of those images instead, and the batch itself needs only the views
    that carry cross-entropy. A validation batch is `image`, `label` and, where the objects are known, `region`
    (`[B, S, S]`).
    """

    def __init__(self, trunk, head, objective=None, **kwargs):
        super().__init__(**kwargs)
        self.trunk, self.head, self.objective = trunk, head, objective or Objective()
        self.cross_entropy = keras.metrics.Mean(name="cross_entropy")
        self.consistency_loss = keras.metrics.Mean(name="consistency_loss")
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.center_content_heatmap = keras.metrics.Mean(name="center_content_heatmap")
        self.faults = nonfinite.Faults()

    @classmethod
    def from_classifier(
        cls, classifier: keras.Model, explain_layer: str | None = None, objective: Objective | None = None, **kwargs
    ) -> "CGCModel":
        """Wraps a Keras classifier, images in 0..255 -> logits, whose layers it shares.

        Args:
            classifier: a functional or sequential `keras.Model`.
            explain_layer: name of the layer to explain; None takes the last 4-D feature map.
            objective: an `Objective`; None takes the paper's.

        Raises:
            ValueError: where the classifier cannot be split at that layer; the layers that can are named.
        """
        model = cls(*split(classifier, explain_layer), objective, **kwargs)
        model.build(classifier.input_shape)
        return model

    def compile(self, *args, jit_compile: bool = False, **kwargs) -> None:
        """`keras.Model.compile` without a loss, which is the objective's; XLA is off unless asked for."""
        super().compile(*args, jit_compile=jit_compile, **kwargs)

    def compile_from_config(self, config: dict) -> None:
        """Compiles a model that is read from a file as it was when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        self.optimizer.build(self.trainable_variables)

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits, float32 `[B, classes]`, of images `[B, H, W, 3]` in 0..255."""
        return tf.cast(self.head(self.trunk(images, training=training), training=training), tf.float32)

    def explain(
        self, images: tf.Tensor, class_ids: tf.Tensor | None = None, cam: str | None = None
    ) -> dict[str, tf.Tensor]:
        """Predictions and heatmaps, in inference mode.

        Args:
            images: `[B, H, W, 3]` in 0..255.
            class_ids: int `[B]`, the classes to explain; None explains the predicted class.
            cam: a key of `gradcam.CAMS`; None takes the objective's.

        Returns:
            A dict: `probabilities` float32 `[B, classes]`, `class_id` int32 `[B]` (the class explained), `heatmap`
            float32 `[B, h, w]`, >= 0.
        """
        logits, heatmaps, class_ids = self._explained(images, class_ids, training=False, cam=cam)
        return {"probabilities": tf.nn.softmax(logits), "class_id": class_ids, "heatmap": heatmaps}

    def train_step(self, batch: dict) -> dict[str, tf.Tensor]:
        """One step: the sum of the views' cross-entropies plus lambda times the consistency term.

        Where a term or the gradient is not finite, the step changes nothing and is counted in `faults`.
        """
        statistics = [(variable, tf.identity(variable)) for variable in self.non_trainable_weights]
        with tf.GradientTape() as tape:
            cross_entropy, consistency, logits = self._terms(batch)
            loss = _share_of_mean(cross_entropy)
            if self.objective.is_consistent:
                loss += self.objective.lambda_cgc * _share_of_mean(consistency)
            scaled = self.optimizer.scale_loss(loss)
        # Declared as sparse gradients too, which only embeddings have.
        gradients: list[tf.Tensor] = tape.gradient(  # pyright: ignore[reportAssignmentType]
            scaled, self.trainable_variables
        )
        is_finite = nonfinite.all_finite(cross_entropy, consistency, gradients)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            gradients, is_finite = nonfinite.left_to_loss_scaling(gradients, is_finite)
        counts = tf.reduce_all(is_finite)
        nonfinite.apply_or_undo(counts, self._apply, gradients, statistics)
        self.faults.update_state(is_finite)

        def weights(values):
            """1 for each example of a step that counts, else 0."""
            return tf.fill(tf.shape(values)[:1], tf.cast(counts, tf.float32))

        self.cross_entropy.update_state(tf.where(counts, cross_entropy, 0.0), weights(cross_entropy))
        self.accuracy.update_state(batch["label"], logits, weights(logits))
        measured = [self.cross_entropy, self.accuracy]
        if self.objective.is_consistent:
            self.consistency_loss.update_state(tf.where(counts, consistency, 0.0), weights(consistency))
            measured.append(self.consistency_loss)
        return self._results(*measured)

    def test_step(self, batch: dict) -> dict[str, tf.Tensor]:
        """Cross-entropy, accuracy and Content Heatmap of the labeled class on a batch of center crops.

        The last is `center_content_heatmap`: the reports' `content_heatmap` is of whole pictures, and lower or higher.
        """
        batch, counts = _filled(batch)
        logits, heatmaps, _ = self._explained(batch["image"], batch["label"], training=False)
        self.cross_entropy.update_state(_cross_entropy(batch["label"], logits), counts)
        self.accuracy.update_state(batch["label"], logits, counts)
        measured = [self.cross_entropy, self.accuracy]
        if "region" in batch:
            share, valid = metrics.content_heatmap(heatmaps, batch["region"])
            located = valid & tf.reduce_any(batch["region"] > 0, [1, 2])
            self.center_content_heatmap.update_state(share, sample_weight=tf.cast(located, tf.float32))
            measured.append(self.center_content_heatmap)
        return self._results(*measured)

    def _apply(self, gradients):
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """Whatever was measured since the last reset, over all replicas; a step's own logs are one replica's."""
        return self._results(*(metric for metric in self.metrics if metric is not self.faults and metric.count > 0))

    def _results(self, *measured):
        loss = self.cross_entropy.result() + self.objective.lambda_cgc * self.consistency_loss.result()
        return {"loss": loss, **{metric.name: metric.result() for metric in measured}}

    def get_config(self) -> dict:
        """Trunk, head and objective; `keras.models.load_model` makes the model of it again."""
        return {
            "trunk": keras.saving.serialize_keras_object(self.trunk),
            "head": keras.saving.serialize_keras_object(self.head),
            "objective": dataclasses.asdict(self.objective),
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict) -> "CGCModel":
        """The inverse of `get_config`."""
        trunk, head = (keras.saving.deserialize_keras_object(config[part]) for part in ("trunk", "head"))
        objective = {**config["objective"], "ce_views": tuple(config["objective"]["ce_views"])}
        model = cls(trunk, head, Objective(**objective), name=config["name"])
        model.build(trunk.input_shape)
        return model

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras would read a batch to build the model on and drop it, before `fit` and before every validation; this
        # model is built when it is made.
        if self.optimizer and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)

    def _terms(self, batch):
        """Cross-entropy `[B]`, summed over views; the consistency term of each of its examples; logits of one view."""
        objective, logits = self.objective, {}
        agreeing = batch.get("unlabeled", batch)
        consistency = tf.zeros([1])
        if objective.is_consistent:
            class_ids = batch["label"] if objective.explain_class == "label" else None
            of_original, original, class_ids = self._explained(agreeing["original"], class_ids, training=True)
            of_augmented, augmented, _ = self._explained(agreeing["augmented"], class_ids, training=True)
            consistency = self._consistency(original, augmented, agreeing)
            if agreeing is batch:
                logits = {"original": of_original, "augmented": of_augmented}
        for view in objective.ce_views:
            if view not in logits:
                logits[view] = self(batch[view], training=True)
        smoothing = objective.label_smoothing
        cross_entropy = tf.add_n(
            [_cross_entropy(batch["label"], logits[view], smoothing) for view in objective.ce_views]
        )
        return cross_entropy, consistency, logits[objective.ce_views[0]]

    def _consistency(self, original, augmented, views):
        objective, size = self.objective, views["original"].shape[1:3]
        is_global = objective.negatives == "global" and self.distribute_strategy.num_replicas_in_sync > 1
        everyone = losses.gather_replicas(augmented) if is_global and objective.kind == "cgc" else None
        positive, pairs = losses.similarities(original, augmented, views["transform"], size, everyone)
        if objective.kind == "cgc":
            return losses.contrastive(positive, pairs, objective.temperature, everyone)
        return losses.no_negatives(positive)

    def _explained(self, images, class_ids, training, cam=None):
        def head(features):
            return self.head(features, training=training)

        features = self.trunk(images, training=training)
        logits, gradients, class_ids = gradcam.class_gradients(head, features, class_ids)
        return logits, gradcam.heatmap(cam or self.objective.cam, features, gradients), class_ids


def _cross_entropy(label, logits, smoothing=0.0) -> tf.Tensor:
    """The cross-entropy of each example, float32 `[B]`."""
    one_hot = tf.one_hot(label, logits.shape[-1])
    # Keras declares the tensors of every backend.
    return keras.losses.categorical_crossentropy(  # pyright: ignore[reportReturnType]
        one_hot, logits, from_logits=True, label_smoothing=smoothing
    )


def _filled(batch):
    """The batch, or one example of zeros where a small last one leaves this replica none; and the weights, `[B]`."""
    is_empty = tf.shape(batch["image"])[0] == 0
    more = tf.cast(is_empty, tf.int32)
    filled = {key: tf.pad(x, tf.stack([[0, more], *([[0, 0]] * (len(x.shape) - 1))])) for key, x in batch.items()}
    return filled, tf.fill(tf.shape(filled["label"]), tf.cast(~is_empty, tf.float32))


def _share_of_mean(values):
    """This replica's share, a scalar, of the mean over every replica's examples; the optimizer adds up the shares."""
    count, context = tf.cast(tf.shape(values)[0], tf.float32), tf.distribute.get_replica_context()
    if context.num_replicas_in_sync > 1:
        count = context.all_reduce(tf.distribute.ReduceOp.SUM, count)
    return tf.reduce_sum(values) / count
