"""Packaged models, their cards, and what they compute in NumPy and float64."""

from __future__ import annotations

import keras
import numpy as np

from asym_keras.layers import AsymScaledDense

layers = keras.layers
# Of columns far from zero. Exact in float32, as `Normalization` keeps them.
MEANS, DEVIATIONS = np.array([19.75, 54.25, 1013.25, 73.25]), np.array([7.5, 12.75, 5.75, 14.5])
ACTIVATIONS = {
    "relu": lambda z: np.maximum(z, 0.0),
    "tanh": np.tanh,
    "linear": lambda z: z,
}


def scaling(kind, dtype="float32"):
    """Layers before the network, and `scale`, `centre` of the inputs."""
    if kind == "pixels":
        return [layers.Rescaling(1 / 255, dtype=dtype)], 1 / 255, 0.0
    if kind == "normalization":
        layer = layers.Normalization(mean=MEANS, variance=DEVIATIONS**2, dtype=dtype)
        return [layer], 1 / DEVIATIONS, MEANS
    if kind == "two rescalings":  # first what float32 holds of the mean, then the rest
        means = MEANS + 0.01
        most = means.astype("float32").astype("float64")
        rest = ((most - means) / DEVIATIONS).tolist()
        steps = [(1.0, (-most).tolist()), ((1 / DEVIATIONS).tolist(), rest)]
        return [layers.Rescaling(*step, dtype=dtype) for step in steps], 1 / DEVIATIONS, means
    if kind == "offset":
        return [layers.Rescaling(1 / 127.5, -1.0, dtype=dtype)], 1 / 127.5, 127.5
    assert kind == "none"
    return [], 1.0, 0.0


def packaged(
    kind="pixels", *, dim=12, outputs=3, units=8, refit=False, target=None, activation="relu",
    dtype="float32", seed=0,
):  # fmt: skip
    """A packaged model, and the function that it is, in NumPy and float64.

    The function gives outputs (n, K) and features (n, units).
    """
    rng = np.random.default_rng(seed)
    before, scale, centre = scaling(kind, dtype)
    hidden = AsymScaledDense(
        units,
        None if refit else outputs,
        gamma=0.2,
        alpha=0.5,
        activation=activation,
        seed=seed,
        dtype=dtype,
    )
    after = [layers.Dense(outputs, dtype=dtype)] if refit else []
    after += [] if target is None else [layers.Rescaling(*target, dtype=dtype)]
    inputs = answer = keras.Input((dim,), dtype="float32", name="inputs")
    for layer in (*before, hidden, *after):
        answer = layer(answer)
    model = keras.Model(inputs, answer, name="packaged")
    if refit:
        after[0].set_weights([rng.normal(size=(units, outputs)), rng.normal(size=outputs)])

    def reference(x):
        z = (scale * (x.astype("float64") - centre)) @ array(hidden.kernel) / np.sqrt(dim)
        features = array(hidden.sqrt_scalings) * ACTIVATIONS[activation](z)
        if refit:
            values = features @ array(after[0].kernel) + array(after[0].bias)
        else:
            values = features @ array(hidden.readout)
        gain, origin = target or (1.0, 0.0)
        return gain * values + origin, features

    return model, reference


def array(weight):
    return keras.ops.convert_to_numpy(weight).astype("float64")


def raw_values(kind, dim=12, n=9, seed=1):
    rng = np.random.default_rng(seed)
    if kind in ("normalization", "two rescalings"):
        return rng.normal(MEANS, DEVIATIONS, (n, dim)).astype("float32")
    if kind == "none":
        return rng.normal(size=(n, dim)).astype("float32")
    return rng.integers(0, 256, (n, dim)).astype("float32")


def card(kind="pixels", *, dim=12, outputs=3, task="classification", name="small", **changes):
    """The card of such a model."""
    image, columns = kind in ("pixels", "offset"), kind in ("normalization", "two rescalings")
    classifies = task == "classification"
    return {
        "name": name,
        "task": task,
        "title": "a small model",
        "inputs": {
            "kind": "image" if image else "columns" if columns else "vector",
            "dim": dim,
            "shape": [dim // 2, 2] if image else None,
            "names": [f"column {i}" for i in range(dim)] if columns else None,
            "low": 0.0 if image else None,
            "high": 255.0 if image else None,
        },
        "outputs": {
            "classes": [f"class {k}" for k in range(outputs)] if classifies else None,
            "target": None if classifies else "power (MW)",
        },
        **{"gamma": 0.2, "alpha": 0.5, "width": 40, "kept": 8, "refit": False},
        **{"protocol": "paper", "seed": 0},
        "data": {
            "name": "tiny",
            "source": "made up",
            "licence": "CC0",
            "fingerprint": "0123456789abcdef",
            "examples": [14, 9],
        },
        "metrics": {
            "full": {"test_risk": 0.25, "test_accuracy": 0.875},
            "pruned": {"test_risk": 0.5, "test_accuracy": 0.75},
            "units": "mean squared error",
        },
        "commands": ["python -m trainers.mnist"],
        "versions": {"keras": "3.15.1"},
        **changes,
    }


def share(got, wanted):
    """Largest difference as a share of the largest number."""
    return np.abs(got - wanted).max() / np.abs(wanted).max()


class Noise(keras.layers.Layer):
    """Random in inference, too."""

    def call(self, inputs):
        import tensorflow as tf

        return inputs + tf.random.normal(tf.shape(inputs))


COLUMNS = dict(dim=4, outputs=1, target=(17.1, 454.0), activation="tanh")
CASES = {
    "image": ("pixels", {}),
    "image, refitted": ("pixels", dict(refit=True)),
    "image around zero": ("offset", dict(activation="tanh")),
    "columns": ("normalization", COLUMNS),
    "columns, refitted": ("two rescalings", COLUMNS | dict(refit=True)),
    "vector": ("none", dict(activation="linear")),
}


def case(name, **changes):
    """Model, reference, card and raw values of one of `CASES`."""
    kind, arguments = CASES[name]
    arguments = arguments | changes
    task = "regression" if "target" in arguments else "classification"
    sizes = {key: arguments[key] for key in ("dim", "outputs") if key in arguments}
    model, reference = packaged(kind, **arguments)
    x = raw_values(kind, model.input_shape[1])
    return model, reference, card(kind, task=task, **sizes), x


def write(model, card, folder, **options):
    """Writes the SavedModel, and returns the network that is in it."""
    from serving.exporting.network import as_network
    from serving.exporting.saved_model import write_saved_model

    network = as_network(model, **options)
    write_saved_model(network, card, folder)
    return network


def folder_size(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
