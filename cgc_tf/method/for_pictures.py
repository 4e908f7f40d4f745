"""A model as it is used on pictures, whose values are in 0..255: its input scaled, and the size it sees them at."""

import keras

from cgc_tf.method.model import CGCModel


def for_pictures(model: CGCModel) -> CGCModel:
    """The same model for images in 0..255: itself, or where it takes 0..1 one that shares its layers."""
    low, high = model.value_range
    if (low, high) == (0, 255):
        return model
    images = keras.Input(model.trunk.input_shape[1:])
    trunk = keras.Model(images, model.trunk(keras.layers.Rescaling(high / 255)(images)), name="trunk")
    scaled = CGCModel(trunk, model.head, model.objective, image_size=model.image_size, name=model.name)
    scaled.build(trunk.input_shape)
    return scaled


def image_size_of(model: CGCModel) -> int:
    """The side in pixels of the square images that a model was trained on, or that alone it takes.

    Raises:
        ValueError: it was trained on none, and takes any.
    """
    height, width = model.trunk.input_shape[1:3]
    size = model.image_size or (height if height == width else None)
    if not size:
        raise ValueError(
            "the model does not say of which size its images are: train it, or build the classifier on "
            f"keras.Input((224, 224, 3)). Received: a model of images of {height} x {width}, None being any"
        )
    return size
