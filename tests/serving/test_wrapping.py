"""Networks with their preprocessing inside: raw values through them, beside prepared ones."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import asym_keras as ak
from asym_keras import datasets
from asym_keras.datasets.preprocessing import Preprocessing
from serving.exporting.wrapping import with_raw_values


def in_units(outputs, record):
    return outputs.astype("float64") * record.target_scale + record.target_shift


@pytest.mark.parametrize("name", ["concrete", "energy", "airfoil", "plant"])
def test_standardisation_inside_is_that_of_the_loader(shared_data, name):
    data = datasets.load_uci(name, data_dir=shared_data)
    columns = np.loadtxt(shared_data / "uci" / f"{name}.csv", delimiter=",", skiprows=1)
    d = data.input_dim
    rows = columns[np.random.RandomState(10).permutation(len(columns))[: len(data.x_train)], :d]
    network = ak.shallow_network(d, width=100, gamma=0.5, alpha=0.5, seed=0)
    model = with_raw_values(network, data.preprocessing, name="m")
    record = data.preprocessing
    scale = record.target_scale
    raw = rows.astype("float32")
    # What float32 leaves of the raw values, standardised in float64: 1e-5 deviations on `plant`.
    exact = (raw.astype("float64") - record.shift) / np.asarray(record.scale)
    wanted = in_units(network(exact.astype("float32")).numpy(), record)
    np.testing.assert_allclose(model(raw).numpy() / scale, wanted / scale, rtol=1e-6, atol=2e-6)
    loaded = in_units(network(data.x_train).numpy(), record)
    np.testing.assert_allclose(model(raw).numpy() / scale, loaded / scale, rtol=1e-5, atol=1e-5)


def test_rounding_of_a_mean_of_many_deviations_does_not_show():
    shift, scale = (16777.2166, -4000.0001), (0.01, 0.003)  # float32 has neither mean
    record = Preprocessing(kind="columns", names=("a", "b"), shift=shift, scale=scale)
    raw = (np.array(shift) + np.random.default_rng(0).normal(size=(50, 2))).astype("float32")
    exact = (raw.astype("float64") - shift) / np.array(scale)
    network = ak.shallow_network(2, width=50, gamma=0.5, alpha=0.5, seed=0)
    answers = with_raw_values(network, record, name="m")(raw).numpy()
    wanted = network(exact.astype("float32")).numpy()
    np.testing.assert_allclose(answers, wanted, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (Preprocessing(kind="vector", scale=1e-60), "scale = 1e-60"),
        (Preprocessing(kind="vector", scale=1e60), "scale = 1e"),
        (Preprocessing(kind="vector", shift=1e60), "shift = 1e"),
        (Preprocessing(kind="vector", target_scale=1e60), "target_scale = 1e"),
        (Preprocessing(kind="image", shape=(2, 2)), "3 inputs, received 4"),
    ],
)
def test_wrapping_refuses_what_float32_loses(record, message):
    with pytest.raises(ValueError, match=message):
        with_raw_values(ak.shallow_network(3, width=2, seed=0), record, name="m")


def test_wrapping_refuses_other_networks():
    inputs = keras.Input((3,))
    network = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    with pytest.raises(ValueError, match=r"one AsymScaledDense.*\['InputLayer', 'Dense'\]"):
        with_raw_values(network, Preprocessing(kind="vector"), name="m")
