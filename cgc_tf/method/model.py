"""CGCModel: a classifier that is trained to explain itself consistently."""

import dataclasses
from collections.abc import Callable

import keras
import tensorflow as tf

from cgc_tf.method import encoders, gradcam, inputs, losses, metrics, nonfinite, random_layers
from cgc_tf.method.keras_calls import KerasCalls
from cgc_tf.method.objective import Objective
from cgc_tf.method.trunk_and_head import split


@keras.saving.register_keras_serializable("cgc_tf")
class CGCModel(KerasCalls):
    """A trunk and a head, trained by Contrastive Grad-CAM Consistency (CVPR 2022) through `fit`.

    >>> from cgc_tf import view_batches
    >>> images, labels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8), np.arange(8) % 4
    >>> layers = [keras.layers.Conv2D(8, 3, activation="relu"), keras.layers.GlobalAveragePooling2D()]
    >>> classifier = keras.Sequential([keras.Input((32, 32, 3)), *layers, keras.layers.Dense(4, "softmax")])
    >>> model = CGCModel.from_classifier(classifier, objective=Objective(lambda_cgc=1.0))
    >>> model.compile("sgd", metrics=["accuracy"])
    >>> pictures = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)
    >>> history = model.fit(view_batches(pictures), validation_data=pictures, verbose=0)
    >>> model.explain(np.zeros((2, 32, 32, 3), "float32"))["heatmap"].shape
    TensorShape([2, 30, 30])

    Args:
        trunk: `keras.Model`, images `[B, H, W, 3]` -> features `[B, h, w, C]`, or a list of these and what else the
            head needs, see `trunk_and_head.split`.
        head: `keras.Model`, what the trunk gives -> logits `[B, classes]`.
        objective: an `Objective`.
        value_range: of the images' values: (0, 255) or (0, 1).
        image_size: the side of the views that it was trained on, in pixels; None as long as it was on none.

    A training batch is a dict: `ce`, `original`, `augmented` (`[B, S, S, 3]`, uint8, or float32 in 0..1, which is the
    model's `value_range` from then on), `transform` (int32 `[B, 5]`, from `original` to `augmented`), `label` (ids
    `[B]` or one-hot `[B, classes]`) and perhaps `weight` (`[B]`, of the cross-entropy). With `unlabeled`, a dict of
    `original`, `augmented` and `transform`, the consistency term is that of those images instead, and the batch itself
    needs only the views that carry cross-entropy. A validation batch is `(image, label)`, or a dict of `image`,
    `label` and, where the objects are known, `region` (`[B, S, S]`).
    """

    def __init__(self, trunk, head, objective=None, value_range=(0, 255), image_size=None, **kwargs):
        super().__init__(**kwargs)
        self.trunk, self.head, self.objective = trunk, head, objective or Objective()
        self.value_range, self.image_size = tuple(value_range), image_size
        self.cross_entropy = keras.metrics.Mean(name="cross_entropy")
        self.consistency_loss = keras.metrics.Mean(name="consistency_loss")
        self.accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
        self.center_content_heatmap = keras.metrics.Mean(name="center_content_heatmap")
        self.heatmap_entropy = keras.metrics.Mean(name="heatmap_entropy")
        self.faults = nonfinite.Faults()

    @classmethod
    def from_classifier(
        cls, classifier: keras.Model, explain_layer: str | None = None, objective: Objective | None = None, **kwargs
    ) -> "CGCModel":
        """Wraps a Keras classifier, whose layers it shares: see `trunk_and_head.split` for what it may be.

        Args:
            classifier: a functional or sequential `keras.Model`.
            explain_layer: name of the layer to explain; None takes the last one that says where, 4-D or tokens.
            objective: an `Objective`; None takes the paper's.
            kwargs: `value_range`, and what `keras.Model` takes.

        Raises:
            ValueError: where the classifier cannot be split at that layer; the layers that can are named.
        """
        model = cls(*split(classifier, explain_layer), objective, **{"dtype": classifier.dtype_policy, **kwargs})
        model.build(classifier.input_shape)
        return model

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Logits, float32 `[B, classes]`, of images `[B, H, W, 3]` in the model's `value_range`."""
        return tf.cast(self.head(self.trunk(images, training=training), training=training), tf.float32)

    def features_and_head(
        self, images: tf.Tensor, training: bool = False
    ) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        """Features `[B, h, w, C]` of images, and the head as a function of these alone: features -> logits.

        What else the head needs, such as a class token, stays as it is of these images.
        """
        features, *others = keras.tree.flatten(self.trunk(images, training=training))
        return features, lambda features: self.head([features, *others] if others else features, training=training)

    def explain(
        self, images: tf.Tensor, class_ids: tf.Tensor | None = None, cam: str | None = None
    ) -> dict[str, tf.Tensor]:
        """Predictions and heatmaps, in inference mode.

        Args:
            images: `[B, H, W, 3]` in the model's `value_range`.
            class_ids: int `[B]`, the classes to explain; None explains the predicted class.
            cam: a key of `gradcam.CAMS`; None takes the objective's.

        Returns:
            A dict: `probabilities` float32 `[B, classes]`, `class_id` int32 `[B]` (the class explained), `heatmap`
            float32 `[B, h, w]`, >= 0.
        """
        logits, heatmaps, class_ids = self._explained(images, class_ids, training=False, cam=cam)
        return {"probabilities": tf.nn.softmax(logits), "class_id": class_ids, "heatmap": heatmaps}

    def train_step(self, data) -> dict[str, tf.Tensor]:
        """One step: the sum of the views' cross-entropies plus lambda times the consistency term.

        Penalties of the layers' regularizers are minimized, too; they are not in the `loss` that is logged, which has
        the whole of lambda also while that rises.
        Where a term or the gradient is not finite, the step changes nothing and is counted in `faults`.
        """
        batch = inputs.views_of(data)
        self._learn_from(batch[self.objective.ce_views[0]])
        with tf.GradientTape() as tape:
            # Statistics of batches, and seeds, stay in the scope until it is known whether the step counts.
            with keras.StatelessScope() as scope:
                cross_entropy, consistency, logits = self._terms(batch)
            loss = losses.share_of_mean(cross_entropy)
            if self.objective.is_consistent:
                weight = losses.risen(self.objective, self.optimizer.iterations)
                loss += weight * losses.share_of_mean(consistency)
            if penalties := self._get_regularization_losses():
                loss += tf.add_n(penalties) / self.distribute_strategy.num_replicas_in_sync
            scaled = self.optimizer.scale_loss(loss)
        # Declared as sparse gradients too, which only embeddings have.
        gradients: list[tf.Tensor] = tape.gradient(  # pyright: ignore[reportAssignmentType]
            scaled, self.trainable_variables
        )
        is_finite = nonfinite.all_finite(cross_entropy, consistency, gradients)
        if isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer):
            gradients, is_finite = nonfinite.left_to_loss_scaling(gradients, is_finite)
        counts = tf.reduce_all(is_finite)
        changes = nonfinite.changes_in(scope, self.non_trainable_variables)
        nonfinite.apply_if(counts, self._apply, gradients, changes)
        self.faults.update_state(is_finite)

        def weights(values):
            """1 for each example of a step that counts, else 0."""
            return tf.fill(tf.shape(values)[:1], tf.cast(counts, tf.float32))

        if self.objective.is_consistent:
            self.consistency_loss.update_state(tf.where(counts, consistency, 0.0), weights(consistency))
        self._count(batch, tf.where(counts, cross_entropy, 0.0), logits, weights(cross_entropy))
        return self._results(self.consistency_loss) if self.objective.is_consistent else self._results()

    def test_step(self, data) -> dict[str, tf.Tensor]:
        """Cross-entropy, accuracy, and measures of the labeled class's heatmaps, on a batch of images as they are.

        `heatmap_entropy` is 1 where all heatmaps are uniform, the trivial way to be consistent. Where objects are known
        there is `center_content_heatmap`; the reports' `content_heatmap` is of whole pictures, and lower or higher.
        """
        batch, counts = inputs.filled(inputs.measured(data))
        class_ids = inputs.class_ids(batch["label"], self.classes)
        logits, heatmaps, _ = self._explained(batch["image"], class_ids, training=False)
        self._count(batch, losses.cross_entropy(class_ids, logits) * batch.get("weight", 1.0), logits, counts)
        shows = tf.cast(tf.reduce_any(heatmaps > 0, [1, 2]), tf.float32)
        self.heatmap_entropy.update_state(metrics.entropy(heatmaps), sample_weight=shows * counts)
        if "region" not in batch:
            return self._results(self.heatmap_entropy)
        share, valid = metrics.content_heatmap(heatmaps, batch["region"])
        located = valid & tf.reduce_any(batch["region"] > 0, [1, 2])
        self.center_content_heatmap.update_state(share, sample_weight=tf.cast(located, tf.float32))
        return self._results(self.heatmap_entropy, self.center_content_heatmap)

    def _count(self, batch, cross_entropy, logits, counts):
        """Updates what is measured of a batch by classes; `counts`, float `[B]`, are all 1, or all 0."""
        self.cross_entropy.update_state(cross_entropy, counts)
        self.accuracy.update_state(inputs.class_ids(batch["label"], self.classes), logits, counts)
        self._update_compiled(batch, logits, counts)

    def _learn_from(self, views):
        """What kind of images the model is trained on, told by a batch of views."""
        inputs.check_size(views.shape[1:3], self.trunk.input_shape)
        self.value_range = (0, 1) if tf.as_dtype(views.dtype).is_floating else (0, 255)
        self.image_size = views.shape[1] or views.shape[2]  # of squares, of which one side may be unknown

    def _apply(self, gradients):
        self.optimizer.apply_gradients(zip(gradients, self.trainable_variables, strict=True))

    def get_metrics_result(self) -> dict[str, tf.Tensor]:
        """Whatever was measured since the last reset, over all replicas; a step's own logs are one replica's."""
        own = self.consistency_loss, self.heatmap_entropy, self.center_content_heatmap
        return self._results(*(metric for metric in own if metric.count > 0))

    def _results(self, *measured):
        loss = self.cross_entropy.result() + self.objective.lambda_cgc * self.consistency_loss.result()
        own = {metric.name: metric.result() for metric in (self.cross_entropy, self.accuracy, *measured)}
        compiled = self._compile_metrics and self._compile_metrics.built and self._compile_metrics.result()
        return {"loss": loss, **own, **(compiled or {})}

    def get_config(self) -> dict:
        """Trunk, head and objective; `keras.models.load_model` makes the model of it again."""
        return {
            "trunk": keras.saving.serialize_keras_object(self.trunk),
            "head": keras.saving.serialize_keras_object(self.head),
            "objective": dataclasses.asdict(self.objective),
            "value_range": list(self.value_range),
            "image_size": self.image_size,
            "name": self.name,
        }

    @classmethod
    def from_config(cls, config: dict) -> "CGCModel":
        """The inverse of `get_config`."""
        parts = (encoders.readable(config[part]) for part in ("trunk", "head"))
        trunk, head = (keras.saving.deserialize_keras_object(part) for part in parts)
        objective = {**config["objective"], "ce_views": tuple(config["objective"]["ce_views"])}
        seen = {name: config[name] for name in ("value_range", "image_size") if name in config}
        model = cls(trunk, head, Objective(**objective), **seen, name=config["name"])
        model.build(trunk.input_shape)
        return model

    def _terms(self, batch):
        """Cross-entropy `[B]`, summed over views; the consistency term of each of its examples; logits of one view."""
        objective, logits, label = self.objective, {}, inputs.class_ids(batch["label"], self.classes)
        agreeing = batch.get("unlabeled", batch)
        consistency, shape = tf.zeros([1]), self.trunk.input_shape
        if objective.is_consistent:
            class_ids = label if objective.explain_class == "label" else None
            draws = random_layers.Draws(self)
            of_original, original, class_ids = self._explained(agreeing["original"], class_ids, training=True)
            draws.again()  # so that heatmaps differ by what is shown alone
            views = inputs.shaped(agreeing["augmented"], shape)
            of_augmented, augmented, _ = self._explained(views, class_ids, training=True)
            size = agreeing["original"].shape[1:3]
            consistency = losses.consistency(objective, original, augmented, agreeing["transform"], size)
            if agreeing is batch:
                logits = {"original": of_original, "augmented": of_augmented}
        for view in objective.ce_views:
            if view not in logits:
                logits[view] = self(inputs.shaped(batch[view], shape), training=True)
        smoothing = objective.label_smoothing
        cross_entropy = tf.add_n([losses.cross_entropy(label, logits[view], smoothing) for view in objective.ce_views])
        return cross_entropy * batch.get("weight", 1.0), consistency, logits[objective.ce_views[0]]

    def _explained(self, images, class_ids, training, cam=None):
        features, head = self.features_and_head(images, training)
        logits, gradients, class_ids = gradcam.class_gradients(head, features, class_ids)
        return logits, gradcam.heatmap(cam or self.objective.cam, features, gradients), class_ids
