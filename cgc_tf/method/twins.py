"""Layers that compute with the variables of others."""

import keras


def twin(layer: keras.layers.Layer, kind: type[keras.layers.Layer], **changes) -> keras.layers.Layer:
    """A layer of a kind, of the same name, settings but for `changes`, and variables as a built layer."""
    made = kind.from_config({**layer.get_config(), **changes})
    for name, value in vars(layer).items():
        if isinstance(value, keras.Variable):
            setattr(made, name, value)
    made.built = True
    return made
