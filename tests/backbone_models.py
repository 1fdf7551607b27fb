"""Small frozen networks for the tests of features."""

from __future__ import annotations

import keras
import numpy as np

FEATURES = 6


def small_resnet(*, size=32, seed=0, dtype="float32"):
    """A residual network with random weights and dropout: images `(n, size, size, 3)` -> 6 maps."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((size, size, 3), dtype=dtype)
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(inputs)
    x = keras.layers.Conv2D(FEATURES, 3, strides=4, padding="same")(x)
    for _ in range(2):
        y = keras.layers.Conv2D(FEATURES, 3, padding="same", use_bias=False)(x)
        y = keras.layers.BatchNormalization()(y)
        x = keras.layers.Activation("relu")(keras.layers.Add()([x, y]))
    model = keras.Model(inputs, keras.layers.Dropout(0.5)(x))
    generator = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.moving_mean.assign(generator.normal(size=FEATURES))
            layer.moving_variance.assign(generator.uniform(0.5, 2.0, FEATURES))
    return model


def save_small_resnet(path, **options):
    """The same in a file; returns its name."""
    small_resnet(**options).save(path)
    return str(path)


def pooled(network, images):
    """Features one image at a time, their mean taken in float64."""
    maps = [network(image[None].astype("float32"), training=False).numpy() for image in images]
    return np.concatenate(maps).astype("float64").mean(axis=(1, 2))
