"""`NTGHistory` inside `model.fit`, against values computed from the weights of each epoch."""

from __future__ import annotations

import csv

import keras
import numpy as np
import pytest
from crossed import crossed, some_slow
from ntg_reference import reference_ntg

import asym_keras as ak
from asym_keras.callbacks import COLUMNS, NTGHistory

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(12, 3)).astype("float32")
Y = GENERATOR.normal(size=(12, 2)).astype("float32")
EXAMPLES = X[:5]


class SavedWeights(keras.callbacks.Callback):
    """The weights at the start and after each epoch."""

    def on_train_begin(self, logs=None):
        self.all = [self.model.get_weights()]

    def on_epoch_end(self, epoch, logs=None):
        self.all.append(self.model.get_weights())


def shallow(dtype="float32", sequential=False):
    keras.utils.set_random_seed(0)
    if not sequential:
        return ak.shallow_network(3, 2, width=8, activation="tanh", seed=0, dtype=dtype)
    layer = ak.AsymScaledDense(8, 2, activation="tanh", seed=0, dtype=dtype)
    return keras.Sequential([keras.Input((3,)), layer])


def dense(activation="tanh"):
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Dense(6, activation, name="hidden"), keras.layers.Dense(2, name="last")]
    return keras.Sequential([keras.Input((3,)), *layers])


def fit(model, callbacks, epochs=3, optimizer="adam", **kwargs):
    if not model.compiled:
        model.compile(optimizer, "mse")
    arguments = {"epochs": epochs, "batch_size": 4, "verbose": 0, "shuffle": False, **kwargs}
    return model.fit(X, Y, callbacks=callbacks, **arguments).history


def expected_columns(saved, ntg_of):
    """What the three columns are, by NumPy, from saved weights; the kernel is the first."""
    ntgs = [ntg_of(weights).astype("float64") for weights in saved]
    kernels = [weights[0].astype("float64") for weights in saved]
    return {
        "ntg_change": [np.linalg.norm(ntg - ntgs[0], 2) for ntg in ntgs[1:]],
        "ntg_min_eigenvalue": [np.linalg.eigvalsh(ntg)[0] for ntg in ntgs[1:]],
        "weight_change": [np.linalg.norm(w - kernels[0], axis=0).max() for w in kernels[1:]],
    }


def jacobian_ntg(model, output):
    def ntg(weights):
        model.set_weights(weights)
        return ak.empirical_ntg(model, EXAMPLES, output=output, method="jacobian").numpy()

    return ntg


@pytest.mark.parametrize(
    ("dtype", "sequential", "output"),
    crossed(["float32", "mixed_bfloat16"], [True, False], [1, 0]),
)
def test_values_of_the_shallow_network_equal_numpy(dtype, sequential, output):
    model, saved = shallow(dtype, sequential), SavedWeights()
    model.layers[-1].readout.assign(np.random.default_rng(2).normal(size=(8, 2)))
    record = NTGHistory(EXAMPLES, output=output)
    history = fit(model, [saved, record])

    def ntg(weights):
        model.set_weights(weights)
        return reference_ntg(model.layers[-1], EXAMPLES, output=output)

    for name, values in expected_columns(saved.all, ntg).items():
        assert min(np.abs(values)) > 1e-5
        np.testing.assert_allclose(history[name], values, rtol=1e-9)
    nodes = [np.linalg.norm(w[0] - saved.all[0][0], axis=0) for w in saved.all[1:]]
    np.testing.assert_allclose(record.node_weight_change, nodes, rtol=1e-4)
    assert record.epochs == [0, 1, 2]


@pytest.mark.parametrize("output", some_slow([1], [0]))
def test_values_of_any_model_equal_its_jacobians(output):
    model, saved = dense(), SavedWeights()
    record = NTGHistory(EXAMPLES, output=output)
    history = fit(model, [saved, record])
    for name, values in expected_columns(saved.all, jacobian_ntg(model, output)).items():
        np.testing.assert_allclose(history[name], values, rtol=1e-3, atol=1e-6)
    assert record.node_weight_change.shape == (3, 6)


@pytest.mark.slow
def test_trace_is_the_mean_over_outputs():
    model, saved = dense(), SavedWeights()
    history = fit(model, [saved, NTGHistory(EXAMPLES, output="trace")])
    ntgs = [jacobian_ntg(model, output) for output in (0, 1)]
    expected = expected_columns(saved.all, lambda w: (ntgs[0](w) + ntgs[1](w)) / 2)
    np.testing.assert_allclose(history["ntg_change"], expected["ntg_change"], rtol=1e-3)


def test_named_layer_is_followed():
    model, saved = dense(), SavedWeights()
    record = NTGHistory(EXAMPLES, layer="last")
    history = fit(model, [saved, record])
    nodes = [np.linalg.norm(w[2] - saved.all[0][2], axis=0) for w in saved.all[1:]]
    np.testing.assert_allclose(record.node_weight_change, nodes, rtol=1e-4)
    np.testing.assert_allclose(history["weight_change"], np.max(nodes, axis=1), rtol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "method"), crossed([shallow, dense], ["jacobian", "auto"]))
def test_training_is_the_same_bit_by_bit(make, method, tmp_path):
    plain, recorded = make(), make()
    fit(plain, [])
    fit(recorded, [NTGHistory(EXAMPLES, method=method)])
    # Once more: the compiled step and the optimizer's slots go on.
    losses = [fit(model, [])["loss"] for model in (plain, recorded)]
    assert losses[0] == losses[1]
    for own, other in zip(recorded.weights, plain.weights, strict=True):
        np.testing.assert_array_equal(own, other)
    pairs = zip(recorded.optimizer.variables, plain.optimizer.variables, strict=True)
    for own, other in pairs:
        np.testing.assert_array_equal(own, other)
    recorded.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), plain.predict(X, verbose=0))
    assert fit(loaded, [NTGHistory(EXAMPLES)])["loss"] == fit(plain, [])["loss"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("every", "epochs", "recorded"),
    [
        (2, 5, [1, 3, 4]),
        (9, 2, [1]),
        pytest.param(1, 3, [0, 1, 2], marks=pytest.mark.slow),
        pytest.param(2, 4, [1, 3], marks=pytest.mark.slow),
    ],
)
def test_epochs_without_a_record_are_nan(every, epochs, recorded, tmp_path):
    whole = fit(shallow(), [NTGHistory(EXAMPLES)], epochs)
    record, path = NTGHistory(EXAMPLES, every=every), tmp_path / "log.csv"
    history = fit(shallow(), [record, keras.callbacks.CSVLogger(path)], epochs)
    assert record.epochs == recorded
    assert record.node_weight_change.shape == (len(recorded), 8)
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    for name in COLUMNS:
        expected = np.full(epochs, np.nan)
        expected[recorded] = np.array(whole[name])[recorded]
        np.testing.assert_array_equal(history[name], expected)
        np.testing.assert_allclose([float(row[name]) for row in rows], expected, rtol=1e-12)


def test_progress_bar_and_later_callbacks_see_the_values(capsys):
    stop = keras.callbacks.EarlyStopping("ntg_change", mode="min", patience=1)
    history = fit(shallow(), [NTGHistory(EXAMPLES), stop], epochs=9, verbose=2)
    assert len(history["ntg_change"]) == 2  # it grows
    assert "ntg_change: " in capsys.readouterr().out


def test_second_fit_goes_on_from_the_same_initial_state():
    once, twice = shallow(), shallow()
    whole = NTGHistory(EXAMPLES)
    expected = fit(once, [whole], epochs=4)
    record = NTGHistory(EXAMPLES)
    fit(twice, [record], epochs=2)
    history = fit(twice, [record], epochs=4, initial_epoch=2)
    assert history["ntg_change"] == expected["ntg_change"][2:]
    assert record.epochs == [0, 1, 2, 3]
    np.testing.assert_array_equal(record.node_weight_change, whole.node_weight_change)


@pytest.mark.slow
def test_another_model_or_callback_begins_anew():
    record, model = NTGHistory(EXAMPLES), shallow()
    first = fit(model, [record], epochs=2)
    assert fit(shallow(), [record], epochs=2) == first
    assert record.epochs == [0, 1]
    anew = fit(model, [NTGHistory(EXAMPLES)], epochs=1)
    assert anew["weight_change"][0] < first["weight_change"][-1]


def test_diverged_run_is_recorded_as_nan(caplog):
    model, saved = dense("relu"), SavedWeights()
    optimizer = keras.optimizers.SGD(1e22)
    history = fit(model, [saved, NTGHistory(EXAMPLES)], 3, optimizer, batch_size=12)
    # First only the NTG overflows, then the weights do.
    finite = [all(np.isfinite(w).all() for w in weights) for weights in saved.all]
    assert finite[1]
    assert not finite[3]
    assert np.isnan([history[name] for name in COLUMNS[:2]]).all()
    assert 1e20 < history["weight_change"][0] < np.inf
    assert not np.isfinite(history["weight_change"][2])
    assert caplog.text.count("no NTG at epoch ") == 3


def test_no_record_at_first():
    record = NTGHistory(EXAMPLES)
    assert record.epochs == []
    assert record.node_weight_change.shape == (0, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": X[:0]}, "at least one example in x"),
        ({"x": []}, "at least one example in x"),
        ({"x": {"a": X, "b": X[:0]}}, "at least one example in x"),
        ({"every": 0}, "every to be an integer of at least 1, received 0"),
        ({"every": 1.5}, "every to be an integer"),
        ({"every": True}, "every to be an integer"),
        ({"output": -1}, "output to be the index .* received -1"),
        ({"output": "all"}, "or 'trace', received 'all'"),
        ({"method": "fast"}, "method in .* received 'fast'"),
    ],
)
def test_arguments_are_checked_at_once(arguments, message):
    with pytest.raises(ValueError, match=message):
        NTGHistory(**{"x": EXAMPLES, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layer": "missing"}, "No such layer: missing"),
        ({"layer": "rest"}, "one with a kernel, received 'rest'"),
        ({"output": 2}, "output"),
    ],
)
def test_what_needs_the_model_is_checked_before_training(arguments, message):
    model = keras.Sequential([*dense().layers, keras.layers.Activation("tanh", name="rest")])
    model.build((None, 3))
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        fit(model, [NTGHistory(EXAMPLES, **arguments)])
    for own, other in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(own, other)


def test_model_without_weights_is_refused():
    record = NTGHistory(EXAMPLES)
    record.set_model(keras.Sequential([keras.layers.Dense(2)]))
    with pytest.raises(ValueError, match="expected a built model"):
        record.on_train_begin()


def test_callbacks_are_a_part_of_the_package():
    assert ak.callbacks.NTGHistory is NTGHistory
    assert "callbacks" in dir(ak)


def test_the_method_is_taken(caplog):
    with caplog.at_level("INFO", logger="asym_keras.ntg"):
        fit(shallow(), [NTGHistory(EXAMPLES, method="jacobian")], epochs=1)
    assert "jacobian for 1" in caplog.text
    assert "closed form" not in caplog.text
