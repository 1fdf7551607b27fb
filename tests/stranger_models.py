"""Keras models of other people, as a .keras file brings them, and rows that they take."""

from __future__ import annotations

import keras
import numpy as np

layers = keras.layers
CODE = '''
import keras


@keras.saving.register_keras_serializable(package="stranger")
class Gate(keras.Model):
    """Two dicts of rows, multiplied: a subclass with a call of its own."""

    def __init__(self, units=3, **options):
        super().__init__(**options)
        self.units = units
        self.left, self.right = keras.layers.Dense(units), keras.layers.Dense(units, "sigmoid")

    def call(self, inputs):
        left, right = self.left(inputs["a"]), self.right(inputs["b"])
        return {"product": left * right, "gate": right}

    def get_config(self):
        return {**super().get_config(), "units": self.units}
'''


def images():
    """A convolutional network on colour images, with the softmax of four classes."""
    keras.utils.set_random_seed(0)
    return keras.Sequential(
        [
            keras.Input((8, 8, 3), name="image"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.Activation("tanh"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(4, "softmax", name="animal"),
        ]
    )


def text():
    """Words to a class by a StringLookup: strings go in."""
    keras.utils.set_random_seed(1)
    words = keras.Input((3,), dtype="string", name="words")
    known = layers.StringLookup(vocabulary=["good", "bad", "food"])
    hidden = layers.Flatten()(layers.Embedding(5, 4)(known(words)))
    return keras.Model(words, layers.Dense(2, name="score")(hidden))


def tabular():
    """Integers and floats of two inputs; an answer that nobody named, one number a row."""
    keras.utils.set_random_seed(2)
    count, size = keras.Input((), dtype="int32", name="count"), keras.Input((2,), name="size")
    known = layers.Embedding(10, 3)(count)
    scaled = layers.Normalization(mean=[1.0, 100.0], variance=[1.0, 25.0])(size)
    return keras.Model([count, size], layers.Dense(1)(layers.Concatenate()([known, scaled])))


def gate(module):
    """The model of `CODE`, built."""
    keras.utils.set_random_seed(3)
    model = module.Gate()
    model({"a": np.zeros((1, 4), "float32"), "b": np.zeros((1, 2), "float32")})
    return model


def rows(name):
    """Five rows by input name."""
    rng = np.random.default_rng(0)
    return {
        "images": {"image": rng.integers(0, 256, (5, 8, 8, 3)).astype("float32")},
        "text": {"words": rng.choice(np.array(["good", "bad", "food", "mood", "überl"]), (5, 3))},
        "tabular": {
            "count": np.array([0, 3, 9, 1, 2], "int32"),
            "size": rng.normal([1.0, 100.0], 3.0, (5, 2)).astype("float32"),
        },
        "gate": {
            "a": rng.normal(size=(5, 4)).astype("float32"),
            "b": rng.normal(size=(5, 2)).astype("float32"),
        },
    }[name]
