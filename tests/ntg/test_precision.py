"""A model at another precision computes the same function, and the NTG with it."""

from __future__ import annotations

import gc
import weakref

import keras
import numpy as np
import pytest
from crossed import crossed, some_slow
from ntg_models import KNOWN, build, cnn, embedding, examples, mlp, partly_known, shared
from ntg_reference import assert_ntg_equal

from asym_keras import empirical_ntg
from asym_keras.ntg.precision import at_precision

REST = [make for make in KNOWN if make not in (cnn, embedding, shared)]


@pytest.mark.slow
@pytest.mark.parametrize("make", some_slow([cnn, embedding, partly_known], REST))
def test_float64_copy_of_a_float32_model(make):
    model, exact = build(make, dtype="float32"), build(make, dtype="float64")
    for weight, source in zip(exact.weights, model.weights, strict=True):
        weight.assign(np.asarray(source.numpy(), "float64"))
    x = examples(model, 4)
    copy = at_precision(model, "float64")
    np.testing.assert_allclose(copy(x.astype(copy.inputs[0].dtype)), exact(x), rtol=1e-14)
    ntg = empirical_ntg(model, x, output="all", dtype="float64")
    assert_ntg_equal(ntg, empirical_ntg(exact, x, output="all").numpy(), "float64")


def test_copy_follows_the_weights():
    model = build(mlp, dtype="float32")
    x = examples(model, 4)
    copy = at_precision(model, "float64")
    model.set_weights([1.5 * w for w in model.get_weights()])
    assert at_precision(model, "float64") is copy
    np.testing.assert_allclose(copy(x), model(x), rtol=1e-5)


def test_model_of_that_precision_is_no_copy():
    model = build(shared, dtype="float64")
    assert at_precision(model, "float64") is model


@pytest.mark.parametrize(
    ("make", "method", "policy"),
    crossed(
        [mlp, embedding],
        ["jacobian", "auto"],
        ["mixed_float16", "mixed_bfloat16"],
    ),
)
def test_mixed_precision_is_computed_in_float32(make, method, policy):
    model, plain = build(make, dtype=policy), build(make, dtype="float32")
    x = examples(plain, 4)
    expected = empirical_ntg(plain, x, method="jacobian").numpy()
    assert_ntg_equal(empirical_ntg(model, x, method=method), expected, "float32")


def test_copy_does_not_keep_the_model_alive():
    model = build(mlp, dtype="float32")
    empirical_ntg(model, examples(model, 3), dtype="float64")
    left = [weakref.ref(model), *map(weakref.ref, model.variables)]
    del model
    gc.collect()
    assert [reference() for reference in left] == [None] * len(left)


class Subclass(keras.Model):
    def __init__(self):
        super().__init__()
        self.hidden = keras.layers.Dense(2)

    def call(self, inputs):
        return self.hidden(inputs)


def test_a_subclass_cannot_be_rebuilt():
    model = Subclass()
    x = np.ones((2, 3), "float32")
    model(x)
    with pytest.raises(ValueError, match=r"functional or Sequential.*Subclass.*dtype='float64'"):
        empirical_ntg(model, x, dtype="float64")


def test_layers_shared_with_a_nested_model_are_shared_in_the_copy():
    model = build(shared, dtype="float32")
    copy = at_precision(model, "float64")
    assert len(copy.weights) == len(model.weights)
    x = examples(model, 3)
    np.testing.assert_allclose(copy(x), model(x), rtol=1e-5)


def test_a_layer_with_a_precision_of_its_own_is_refused():
    @keras.saving.register_keras_serializable(package="tests")
    class Stubborn(keras.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**{**kwargs, "dtype": "float32"})

        def build(self, input_shape):
            self.shift = self.add_weight(shape=(3,))

        def call(self, inputs):
            return inputs + self.shift

    model = keras.Sequential([keras.Input((3,)), Stubborn()])
    with pytest.raises(ValueError, match=r"compute in float64 once rebuilt, received .*float32"):
        at_precision(model, "float64")


@pytest.mark.parametrize("policy", some_slow(["float64"], ["float32", "mixed_bfloat16"]))
def test_low_rank_updates_are_refused_with_a_way_that_works(policy):
    """Keras makes them in float32 under every dtype: to build the model in another is no way."""
    model = build(mlp, dtype=policy)
    model.layers[0].enable_lora(2)
    if keras.__version__ < "3.15":
        pytest.skip("Keras makes them in the dtype of the layer")
    x = examples(build(mlp, dtype="float32"), 4)
    with pytest.raises(ValueError, match=r"lora_kernel_a in float32, .*Leave out dtype") as caught:
        empirical_ntg(model, x, dtype="float64")
    assert "Build" not in str(caught.value)
    assert np.linalg.eigvalsh(empirical_ntg(model, x).numpy())[-1] > 0.1


def test_several_inputs():
    inputs = {"a": keras.Input((2,), name="a"), "b": keras.Input((3,), dtype="int32", name="b")}
    tokens = keras.layers.Flatten()(keras.layers.Embedding(5, 2)(inputs["b"]))
    joined = keras.layers.Concatenate()([keras.layers.Dense(3, "tanh")(inputs["a"]), tokens])
    model = keras.Model(inputs, keras.layers.Dense(1)(joined))
    rng = np.random.default_rng(0)
    x = {"a": rng.normal(size=(4, 2)), "b": rng.integers(0, 5, size=(4, 3))}
    expected = empirical_ntg(model, x, method="jacobian").numpy()
    assert_ntg_equal(empirical_ntg(model, x, method="structured"), expected, "float32")
    with pytest.raises(
        ValueError, match=r"same number of examples, at least one, received \{(3, 4|4, 3)\}"
    ):
        empirical_ntg(model, {"a": x["a"][:3], "b": x["b"]})


def test_a_matrix_that_float16_does_not_hold_is_refused():
    model = keras.Sequential([keras.Input((70_000,), dtype="float16")])
    model.add(keras.layers.Dense(1, dtype="float16", kernel_initializer="zeros"))
    x = np.ones((2, 70_000), "float16")
    x[1, 0] = 2.0
    with pytest.raises(ValueError, match="expected outputs of"):
        empirical_ntg(model, x)
