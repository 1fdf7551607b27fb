"""The probe of a training run against spectral norms and eigenvalues computed in NumPy."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from ntg_reference import reference_ntg

from asym_keras import empirical_ntg, shallow_network
from asym_keras.ntg import NTGProbe

X = np.random.default_rng(0).normal(size=(6, 3))


def network(dtype="float32", **kwargs):
    arguments = {"width": 20, "gamma": 0.5, "alpha": 0.5, "activation": "tanh", "seed": 0}
    return shallow_network(3, 2, dtype=dtype, **{**arguments, **kwargs})


def perturb(model, seed=1):
    generator = np.random.default_rng(seed)
    for variable in model.trainable_variables:
        variable.assign_add(0.5 * generator.normal(size=variable.shape))


def expected_record(model, initial, output=0):
    ntg = reference_ntg(model.layers[-1], X.astype("float32"), output=output)
    return {
        "ntg_change": np.linalg.norm(ntg - initial, 2),
        "ntg_min_eigenvalue": np.linalg.eigvalsh(ntg)[0],
    }


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("output", [0, 1])
def test_closed_form_probe_equals_numpy_in_float64_whatever_the_dtype(dtype, output):
    model = network(dtype)
    layer = model.layers[-1]
    layer.readout.assign(np.random.default_rng(2).normal(size=(20, 2)))  # the outputs differ
    probe = NTGProbe(X.astype("float32"), output=output)
    probe.start(model)
    initial = reference_ntg(layer, X.astype("float32"), output=output)
    assert probe(model)["ntg_change"] == 0.0
    perturb(model)
    expected = expected_record(model, initial, output)
    assert expected["ntg_change"] > 0.01
    assert probe(model) == pytest.approx(expected, rel=1e-11)
    assert all(type(value) is float for value in probe(model).values())


def test_jacobian_probe_equals_numpy_to_the_dtype_of_the_model():
    model = network()
    probe = NTGProbe(X.astype("float32"), method="jacobian")
    probe.start(model)
    initial = reference_ntg(model.layers[-1], X)
    perturb(model)
    record, expected = probe(model), expected_record(model, initial)
    assert record["ntg_change"] == pytest.approx(expected["ntg_change"], rel=1e-5)
    assert record["ntg_min_eigenvalue"] == pytest.approx(
        expected["ntg_min_eigenvalue"], rel=1e-5, abs=1e-6
    )


def test_probe_reads_any_keras_model():
    dense = keras.layers.Dense
    model = keras.Sequential([keras.Input((3,)), dense(4, "tanh"), dense(1)])
    probe = NTGProbe(X.astype("float32"))
    probe.start(model)
    before = empirical_ntg(model, X).numpy()
    perturb(model)
    change = np.linalg.norm(empirical_ntg(model, X).numpy().astype("float64") - before, 2)
    assert change > 0.1
    assert probe(model)["ntg_change"] == pytest.approx(change, rel=1e-12)


def test_probe_passes_its_method_on():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    with pytest.raises(ValueError, match="expected for method='closed_form'"):
        NTGProbe(X, method="closed_form").start(model)


def test_probe_without_start_starts_at_its_first_call():
    model = network()
    probe = NTGProbe(X)
    assert probe(model)["ntg_change"] == 0.0
    perturb(model)
    assert probe(model)["ntg_change"] > 0.01


def test_probe_measures_from_its_last_start():
    model = network()
    probe = NTGProbe(X)
    probe.start(model)
    perturb(model)
    away = probe(model)["ntg_change"]
    probe.start(model)
    assert probe(model)["ntg_change"] == 0.0 < away


def test_probe_sees_a_repeated_example_as_a_zero_eigenvalue():
    model = network()
    record = NTGProbe(np.concatenate([X, X[:1]]))(model)
    assert abs(record["ntg_min_eigenvalue"]) < 1e-14 < NTGProbe(X)(model)["ntg_min_eigenvalue"]
