"""The initialisers against NumPy's generator, their moments, and Keras's ways of naming them."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest

from asym_keras import initializers
from asym_keras.initializers import Normal, Rademacher, with_seed

INITIALIZERS = [Normal(seed=3), Normal(2.5, seed=4), Rademacher(seed=5)]


def draw(initializer, shape=(40, 50), dtype="float64"):
    return keras.ops.convert_to_numpy(initializer(shape, dtype))


@pytest.mark.parametrize("stddev", [1.0, 2.0**0.5, 0.0])
def test_normal_is_numpys_standard_normal_times_stddev(stddev):
    expected = stddev * np.random.default_rng(7).standard_normal((4, 3))
    np.testing.assert_array_equal(draw(Normal(stddev, seed=7), (4, 3)), expected)


def test_normal_has_its_moments():
    values = draw(Normal(3.0, seed=0), (100_000,)) / 3.0
    moments = [np.mean(values**power) for power in (1, 2, 3, 4)]
    # Variance of the mean of z^p is (E z^2p - (E z^p)^2) / n: four standard deviations.
    tolerance = 4.0 * np.sqrt(np.array([1.0, 2.0, 15.0, 96.0]) / 100_000)
    assert np.all(np.abs(np.array(moments) - [0.0, 1.0, 0.0, 3.0]) < tolerance)


def test_rademacher_is_a_fair_sign():
    values = draw(Rademacher(seed=0), (100_000,))
    assert set(np.unique(values)) == {-1.0, 1.0}
    assert abs(values.mean()) < 4.0 / np.sqrt(100_000)
    assert abs(np.mean(values[1:] * values[:-1])) < 4.0 / np.sqrt(100_000)


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_float32_draws_are_float64_draws_rounded(initializer):
    double, single = draw(initializer), draw(initializer, dtype="float32")
    assert (double.dtype, single.dtype) == (np.float64, np.float32)
    np.testing.assert_array_equal(single, double.astype("float32"))


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_dtype_is_floatx_by_default(initializer):
    assert keras.backend.standardize_dtype(initializer((2, 3)).dtype) == "float32"
    np.testing.assert_array_equal(initializer((2, 3)), draw(initializer, (2, 3), "float32"))


@pytest.mark.parametrize("make", [Normal, Rademacher])
def test_seeds_decide(make):
    first, again, other = (draw(make(seed=seed)) for seed in (0, 0, 2))
    np.testing.assert_array_equal(first, again)
    assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 4.0 / np.sqrt(first.size)
    initializer = make(seed=1)
    np.testing.assert_array_equal(draw(initializer), draw(initializer))  # as in Keras


@pytest.mark.parametrize("make", [Normal, Rademacher])
def test_no_seed_is_a_new_seed_unless_keras_sets_the_global_one(make):
    assert np.any(draw(make()) != draw(make()))
    pairs = []
    for _ in range(2):
        keras.utils.set_random_seed(11)
        pairs.append([draw(make()), draw(make())])
    np.testing.assert_array_equal(pairs[0], pairs[1])
    assert np.any(pairs[0][0] != pairs[0][1])


@pytest.mark.parametrize("initializer", [*INITIALIZERS, Normal(0.5), Rademacher()])
def test_initializers_come_back_from_json(initializer):
    config = json.loads(json.dumps(keras.initializers.serialize(initializer)))
    back = keras.initializers.deserialize(config)
    assert type(back) is type(initializer)
    assert back.get_config() == initializer.get_config()
    if initializer.get_config()["seed"] is not None:
        np.testing.assert_array_equal(draw(back), draw(initializer))


def test_with_seed_seeds_what_has_none():
    seeded = with_seed(keras.initializers.Orthogonal(gain=2.0), 9)
    expected = keras.initializers.Orthogonal(gain=2.0, seed=9)
    assert seeded.get_config() == expected.get_config()
    np.testing.assert_array_equal(draw(seeded), draw(expected))
    np.testing.assert_array_equal(draw(with_seed(Normal(2.0), 9)), draw(Normal(2.0, seed=9)))


@pytest.mark.parametrize(
    "initializer",
    [
        keras.initializers.HeNormal(seed=4),
        keras.initializers.HeNormal(seed=0),
        keras.initializers.HeNormal(seed=keras.random.SeedGenerator(4)),
        keras.initializers.Constant(0.5),
        Rademacher(seed=0),
    ],
)
def test_with_seed_leaves_alone_what_needs_none(initializer):
    assert with_seed(initializer, 9) is initializer


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", [Normal, Rademacher])
def test_blocks_are_one_stream(kind, dtype, monkeypatch):
    whole = np.asarray(kind(seed=3)((7, 11), dtype))
    monkeypatch.setattr(initializers, "BLOCK", 5)
    np.testing.assert_array_equal(np.asarray(kind(seed=3)((7, 11), dtype)), whole)
