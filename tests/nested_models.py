"""Models of several kinds that nested widths go into, and anytime prediction by a loop."""

from __future__ import annotations

import keras
import numpy as np

from asym_keras import AsymScaledDense

layers = keras.layers
WIDTHS = (2, 5, 12)


def mlp():
    return keras.Sequential(
        [keras.Input((6,)), layers.Dense(12, "relu"), layers.Dropout(0.3), layers.Dense(3)]
    )


def scaled():
    hidden = AsymScaledDense(12, gamma=0.3, parametrization="standard", use_bias=True)
    return keras.Sequential([keras.Input((6,)), hidden, layers.Dense(3, "softmax")])


def paper():
    """The paper's parametrization, and no bias anywhere."""
    stack = [AsymScaledDense(12, gamma=0.3), layers.Dense(3, use_bias=False)]
    return keras.Sequential([keras.Input((6,)), *stack])


def normalised():
    """Normalisation, activation and a softmax of its own; functional."""
    inputs = keras.Input((6,))
    h = layers.Activation("tanh")(layers.BatchNormalization()(layers.Dense(12)(inputs)))
    return keras.Model(inputs, layers.Softmax()(layers.Dense(3)(h)))


def cnn():
    stack = [layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D(), layers.Flatten()]
    head = [layers.Dense(12, "relu"), layers.Dense(3)]
    return keras.Sequential([keras.Input((6, 6, 1)), *stack, *head])


def pooled_cnn():
    """The nodes are the channels of a convolution."""
    stack = [layers.Conv2D(12, 3, activation="relu"), layers.GlobalAveragePooling2D()]
    return keras.Sequential([keras.Input((6, 6, 1)), *stack, layers.Dense(3)])


def flat_cnn():
    """A channel has an entry at every place: cutting one takes several features."""
    stack = [layers.Conv2D(3, 3, activation="relu"), layers.Flatten()]
    return keras.Sequential([keras.Input((4, 4, 1)), *stack, layers.Dense(3)])


def embedding():
    inputs = keras.Input((5,), dtype="int32")
    h = layers.GlobalAveragePooling1D()(layers.Embedding(7, 8, mask_zero=True)(inputs))
    return keras.Model(inputs, layers.Dense(3)(layers.Dense(12, "gelu")(h)))


def transformer():
    """A block of attention, and a head on the last normalisation, whose features nobody can cut."""
    inputs = keras.Input((5,), dtype="int32")
    h = layers.Embedding(7, 12)(inputs)
    h = layers.LayerNormalization()(h + layers.MultiHeadAttention(2, 6)(h, h))
    h = layers.LayerNormalization()(h + layers.Dense(12)(layers.Dense(20, "gelu")(h)))
    return keras.Model(inputs, layers.Dense(3)(layers.GlobalAveragePooling1D()(h)))


def tokens():
    """An answer for every token."""
    inputs = keras.Input((5,), dtype="int32")
    h = layers.Dense(12, "relu")(layers.Embedding(7, 8)(inputs))
    return keras.Model(inputs, layers.Dense(3)(h))


def inside():
    """Features and readout in nested models."""
    body = keras.Sequential([keras.Input((6,)), layers.Dense(12, "relu")], name="body")
    head = keras.Sequential([keras.Input((12,)), layers.Dense(3)], name="head")
    inputs = keras.Input((6,))
    return keras.Model(inputs, head(body(inputs)))


def two_readers():
    """Another layer takes the features, too: they can't go."""
    inputs = keras.Input((6,))
    h = layers.Dense(12, "relu")(inputs)
    gate = layers.Dense(12, "sigmoid")(h)
    return keras.Model(inputs, layers.Dense(3)(layers.Multiply()([h, gate])))


CUT = (mlp, scaled, paper, normalised, cnn, pooled_cnn, flat_cnn, embedding, tokens, inside)
WHOLE = (transformer, two_readers)  # nothing but the readout can be cut


def build(make, seed=0):
    keras.utils.set_random_seed(seed)
    model = make()
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "scalings" not in weight.path and "seed" not in weight.path:
            noise = rng.normal(size=weight.shape) * 0.2
            weight.assign_add(np.abs(noise) if "variance" in weight.path else noise)
    return model


def examples(model, n=8, seed=0):
    rng, (inputs,) = np.random.default_rng(seed), model.inputs
    shape = (n, *inputs.shape[1:])
    if inputs.dtype == "int32":
        return rng.integers(0, 7, size=shape)
    return rng.normal(size=shape).astype(inputs.dtype)


def first_sure(outputs, threshold, probabilities):
    """Outputs and widths, example by example; `outputs` (n, P, K)."""
    chosen, used = [], []
    for answers, sizes in zip(outputs, probabilities, strict=True):
        for p, width in enumerate(WIDTHS):
            sure = max(sizes[p]) if len(sizes[p]) > 1 else max(sizes[p][0], 1 - sizes[p][0])
            if sure >= threshold or width == WIDTHS[-1]:
                chosen.append(answers[p])
                used.append(width)
                break
    return np.array(chosen), np.array(used)


def softmax(logits):
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)
