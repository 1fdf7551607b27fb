"""Split of the NTG and its share per node against loops over nodes, and against Jacobians."""

from __future__ import annotations

import numpy as np
import pytest
from crossed import crossed
from ntg_reference import SLOPES, assert_ntg_equal, reference_ntg

import asym_keras as ak
from asym_keras.ntg import leading_share, node_contributions, shallow_ntg, split_ntg

X = np.random.default_rng(0).normal(size=(6, 3)).astype("float32")
X2 = np.random.default_rng(1).normal(size=(2, 3)).astype("float32")
M = 12


def network(dtype="float64", **kwargs):
    arguments = {"width": M, "gamma": 0.3, "alpha": 0.5, "seed": 3, "dtype": dtype, **kwargs}
    model = ak.shallow_network(3, 2, **arguments)
    # The outputs differ.
    model.layers[-1].readout.assign(np.random.default_rng(2).normal(size=(M, 2)))
    return model


def node_parts(layer, x, x2, scalings, output):
    """`(lambda_j a_j^2 / d) diag(s_j) X X2^T diag(s2_j)` for each node, one after another."""
    kernel, readout = (w.numpy().astype("float64") for w in (layer.kernel, layer.readout))
    slope, parts = SLOPES[layer.activation.__name__], []
    x, x2 = x.astype("float64"), x2.astype("float64")
    for j in range(layer.units):
        s, s2 = (slope(inputs @ kernel[:, j] / np.sqrt(3)) for inputs in (x, x2))
        parts.append(scalings[j] * readout[j, output] ** 2 / 3 * np.outer(s, s2) * (x @ x2.T))
    return parts


@pytest.mark.parametrize("output", [0, 1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0])
def test_split_equals_a_loop_over_nodes(gamma, activation, dtype, output):
    layer = network(dtype, gamma=gamma, activation=activation).layers[-1]
    rest = (1 - gamma) * ak.node_scalings(M, 0.0, 0.5)
    for x2 in (None, X2):
        expected = [
            sum(node_parts(layer, X, X if x2 is None else x2, scalings, output))
            for scalings in (np.full(M, gamma / M), rest)
        ]
        for part, reference in zip(split_ntg(layer, X, x2, output=output), expected, strict=True):
            assert_ntg_equal(part, reference, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("x2", [None, X2], ids=["symmetric", "cross"])
def test_parts_sum_to_the_ntg(x2, dtype):
    model = network("float32")
    first, second = (
        part.numpy() for part in split_ntg(model.layers[-1], X, x2, output=1, dtype=dtype)
    )
    whole = shallow_ntg(model.layers[-1], X, x2, output=1, dtype=dtype)
    tolerance = 10 * np.finfo(dtype).eps
    np.testing.assert_allclose(first + second, whole, rtol=tolerance, atol=tolerance)
    jacobian = ak.empirical_ntg(model, X, x2, output=1, method="jacobian")
    np.testing.assert_allclose(first + second, jacobian, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("gamma", "empty"), [(0.0, 0), (1.0, 1)])
def test_a_part_without_scalings_is_exactly_zero(gamma, empty):
    # At this alpha most of the scalings are zero in float64, too.
    parts = split_ntg(network(gamma=gamma, alpha=0.003).layers[-1], X)
    assert not parts[empty].numpy().any()
    assert np.isfinite(parts[1 - empty]).all()
    assert parts[1 - empty].numpy().any()


def test_split_needs_a_gamma():
    with pytest.raises(ValueError, match="received in 'asym_scaled_dense' custom ones"):
        split_ntg(network(scalings=np.full(M, 1 / M)).layers[-1], X)
    other = network(gamma=0.35)
    other.set_weights(network().get_weights())
    with pytest.raises(ValueError, match="weights that are not of its gamma and alpha"):
        split_ntg(other.layers[-1], X)


@pytest.mark.parametrize(
    ("activation", "dtype", "output"),
    crossed(["relu", "tanh"], ["float32", "float64"], [0, 1], quick=[("tanh", "float32", 0)]),
)
def test_contributions_equal_a_loop_over_nodes(activation, dtype, output):
    model = network(dtype, activation=activation, scalings=np.random.default_rng(4).uniform(size=M))
    layer = model.layers[-1]
    traces = node_contributions(layer, X, output=output)
    assert traces.shape == (M,)
    assert traces.dtype == "float64"
    parts = node_parts(layer, X, X, layer.scalings, output)
    np.testing.assert_allclose(traces, [np.trace(part) for part in parts], rtol=1e-12)
    jacobian = ak.empirical_ntg(model, X, output=output, method="jacobian").numpy()
    assert traces.sum() == pytest.approx(np.trace(jacobian), rel=1e-5)


def test_contributions_by_hand():
    layer = ak.AsymScaledDense(2, 1, scalings=[0.75, 0.25], dtype="float64")
    layer.build((None, 2))
    layer.kernel.assign([[1.0, -1.0], [0.0, 1.0]])
    x = [[2.0, 0.0], [2.0, 4.0], [-2.0, 2.0]]  # ||x||^2 / 2 = 2, 10, 4; nodes: 1; 1 and 2; 2
    np.testing.assert_allclose(node_contributions(layer, x), [0.75 * 12, 0.25 * 14], rtol=1e-12)
    assert leading_share(layer, x, 1) == pytest.approx(9 / 12.5, rel=1e-12)


def test_share_equals_the_ntg_of_those_nodes_alone():
    layer = network("float32").layers[-1]
    whole = np.trace(reference_ntg(layer, X, output=1))
    parts = node_parts(layer, X, X, layer.scalings, 1)
    by_trace = np.argsort([-np.trace(part) for part in parts])
    importance = layer.scalings * np.sum(layer.kernel.numpy() ** 2, axis=0)
    for order, nodes in ((None, by_trace), (np.argsort(-importance), np.argsort(-importance))):
        expected = [
            np.trace(sum([parts[j] for j in nodes[:k]], 0 * parts[0])) for k in range(M + 1)
        ]
        shares = leading_share(layer, X, np.arange(M + 1), output=1, order=order)
        np.testing.assert_allclose(shares, np.array(expected) / whole, rtol=1e-10)
    assert not np.array_equal(np.argsort(-importance), by_trace)


def test_share_takes_numbers_arrays_and_short_orders():
    layer = network().layers[-1]
    shares = leading_share(layer, X, [0, 3, M])
    assert shares.shape == (3,)
    assert shares[0] == 0.0 < shares[1] < shares[2] == pytest.approx(1.0, rel=1e-12)
    assert type(leading_share(layer, X, 3)) is float
    assert leading_share(layer, X, np.int64(3)) == shares[1]
    assert leading_share(layer, X, [[3], [0]]).shape == (2, 1)
    traces = node_contributions(layer, X)
    assert leading_share(layer, X, 2, order=[5, 0]) == pytest.approx(
        traces[[5, 0]].sum() / traces.sum(), rel=1e-12
    )


def test_largest_contributions_carry_at_least_what_any_others_do():
    layer = network().layers[-1]
    best = leading_share(layer, X, np.arange(M + 1))
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(M)
        assert (leading_share(layer, X, np.arange(M + 1), order=order) <= best + 1e-12).all()


@pytest.mark.parametrize(
    ("k", "order", "message"),
    [
        (-1, None, "expected k to be integers from 0 to the 12"),
        (M + 1, None, "expected k to be integers"),
        (0.5, None, "expected k to be integers"),
        (3, [0, 1], "from 0 to the 2 nodes in order"),
        (1, [0, 0], "distinct node indices from 0 to 11"),
        (1, [M], "distinct node indices"),
        (1, [-1], "distinct node indices"),
        (1, [[0]], "distinct node indices"),
        (1, [0.5], "distinct node indices"),
    ],
)
def test_share_refuses_k_and_order(k, order, message):
    with pytest.raises(ValueError, match=message):
        leading_share(network().layers[-1], X, k, order=order)


def test_share_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no node is active"):
        leading_share(network().layers[-1], np.zeros_like(X), 1)


@pytest.mark.parametrize("output", [-1, 2])
def test_unknown_output_is_refused(output):
    layer = network().layers[-1]
    for call in (split_ntg, node_contributions, lambda *a, **k: leading_share(*a, 1, **k)):
        with pytest.raises(ValueError, match=f"received outputs=2 in .* and output={output}"):
            call(layer, X, output=output)


def test_layer_without_outputs_is_refused():
    layer = ak.AsymScaledDense(4)
    layer.build((None, 3))
    with pytest.raises(ValueError, match="Expected a layer with outputs"):
        node_contributions(layer, X)
