"""A new `CGCModel` of a configuration, with the weights that `--weights` names."""

import keras

from cgc_tf.common.errors import UserError
from cgc_tf.method.model import CGCModel
from cgc_tf.networks import backbones, freezing, pretrained, registry
from cgc_tf.training import checkpoints
from cgc_tf.training.config import Config
from cgc_tf.training.state import restore_trained


class NewModel:
    """A model in two steps: every mistake of names and files shows in the first, before data is prepared.

    Args:
        config: its settings. `--weights` is read here, but for a classifier that it holds, too.

    Attributes:
        backbone: a `keras.Model`, images -> features.

    Raises:
        UserError: for an unknown backbone, weights that are not available or do not fit, a layer that cannot be
            explained, or an image size that is too small.
    """

    def __init__(self, config: Config):
        self._config, self._checkpoint, weights = config, None, config.weights
        if config.freeze != "none" and weights == "none":
            raise UserError(
                f"--freeze={config.freeze} would keep what --weights=none draws at random: start from a run, a file, a "
                "preset or --weights=imagenet"
            )
        if checkpoints.is_checkpoint(weights):
            self._checkpoint, weights = checkpoints.find(weights), "none"
        self._weights = pretrained.parse(weights, config.backbone)
        # "imagenet" means a new classifier for all networks, wherever their weights come from.
        self._is_reset = config.reset_classifier or self._weights.name == "imagenet"
        if self._weights.kind == "torch" and config.hidden_units and not self._is_reset:
            raise UserError("--hidden_units makes a head that no PyTorch file holds; add --reset_classifier")
        self.backbone = backbones.build_backbone(
            config.backbone, self._weights, config.image_size, config.explain_layer
        )
        freezing.freeze(self.backbone, config.freeze)

    def with_classes(self, count: int) -> CGCModel:
        """The model, with a new head for so many classes, or that of the weights.

        Raises:
            UserError: the weights have a classifier that does not fit.
        """
        config = self._config
        classifier = backbones.add_classifier(self.backbone, count, config.pooling, config.hidden_units)
        for layer in classifier._flatten_layers():
            if config.sync_batch_norm and isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
        model = CGCModel.from_classifier(classifier, config.explain_layer, config.make_objective())
        if self._checkpoint:
            restore_trained(self._checkpoint.state, model, config.weights)
        elif self._weights.kind == "torch":
            last = None if self._is_reset else classifier.get_layer("classifier")
            print("\n".join(self._weights.load_torch(self.backbone, registry.torch_naming(config.backbone), last)))
        return model
