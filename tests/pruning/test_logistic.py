"""Readouts by cross-entropy against scikit-learn, closed forms and finite differences."""

from __future__ import annotations

import numpy as np
import pytest

from asym_keras.pruning import logistic, refit_bytes, refit_logits, widest_refit

N = 60


def problem(dtype="float64", k=4, classes=3):
    """Features of other sizes and centres, and classes that overlap."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(N, k))
    labels = np.argmax(z[:, :classes] + 0.8 * rng.normal(size=(N, classes)), axis=1)
    return (z * np.geomspace(0.01, 100, k) + np.arange(k)).astype(dtype), labels


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rows", [7, 1000])
def test_softmax_regression_equals_scikit_learns(dtype, rows, monkeypatch):
    linear = pytest.importorskip("sklearn.linear_model")
    monkeypatch.setattr("asym_keras.pruning.refit.TILE_ROWS", rows)
    features, labels = problem(dtype)
    fits = refit_logits(features, np.eye(3)[labels], (2, 4), penalty=1e-2)  # so that both converge
    for k, fit in zip((2, 4), fits, strict=True):
        f = features[:, :k].astype("float64")
        standard = (f - f.mean(0)) / f.std(0)
        # Theirs is C sum_i H_i + ||A||^2 / 2.
        model = linear.LogisticRegression(C=1 / (2 * 1e-2 * N), tol=1e-10, max_iter=10000)
        theirs = model.fit(standard, labels).decision_function(standard)
        ours = f @ fit.kernel + fit.bias
        ours = ours - ours.mean(1, keepdims=True)
        np.testing.assert_allclose(ours, theirs - theirs.mean(1, keepdims=True), atol=1e-5)


def test_logistic_regression_is_one_for_each_output():
    features, labels = problem()
    y = np.eye(3)[labels]
    [fit] = refit_logits(features, y, link="sigmoid")
    for k in range(3):
        [one] = refit_logits(features, y[:, k : k + 1], link="sigmoid")
        logits = features @ one.kernel + one.bias
        np.testing.assert_allclose(
            (features @ fit.kernel + fit.bias)[:, k], logits[:, 0], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize("link", ["softmax", "sigmoid"])
def test_gradient_equals_finite_differences(link):
    features, labels = problem(k=3)
    made = logistic._Problem(features, np.eye(3)[labels], link)
    flat = np.random.default_rng(1).normal(size=3 * 3)
    examples = np.arange(N) / np.arange(N).sum()
    _, gradient = made._value_and_gradient(flat, 2, 0.1, examples)
    for i, unit in enumerate(np.eye(9) * 1e-6):
        values = [made._value_and_gradient(flat + s * unit, 2, 0.1, examples)[0] for s in (1, -1)]
        assert gradient[i] == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-6, abs=1e-9)


def test_without_features_outputs_are_the_shares_of_the_classes():
    features, labels = problem()
    [fit] = refit_logits(features, np.eye(3)[labels], [0])
    shares = np.bincount(labels) / N
    odds = np.exp(fit.bias)
    np.testing.assert_allclose(odds / odds.sum(), shares, atol=1e-7)
    assert fit.risk == pytest.approx(-np.sum(shares * np.log(shares)))


def test_features_that_never_change_say_nothing():
    features, labels = problem()
    [fit] = refit_logits(np.full((N, 2), 3.0), np.eye(3)[labels])
    assert not fit.kernel.any()
    more = np.concatenate([features, np.full((N, 1), 0.1)], axis=1)
    [with_it], [without] = (refit_logits(f, np.eye(3)[labels]) for f in (more, features))
    np.testing.assert_allclose(with_it.kernel[:-1], without.kernel, rtol=1e-6)


@pytest.mark.parametrize(
    ("features", "targets", "options", "message"),
    [
        (np.ones((4, 2)), np.ones(4), {}, r"expected features \(n, m\) and targets \(n, K\)"),
        (np.full((4, 2), np.nan), np.eye(4), {}, "finite features"),
        (np.ones((4, 2)), np.eye(4), {"widths": [3]}, r"widths from 0 to 2, received \[3\]"),
        (np.ones((4, 2)), np.eye(4), {"link": "probit"}, "received 'probit'"),
        (np.ones((4, 2)), np.ones((4, 2)), {}, "one-hot.*sum to 2 to 2.*regression='ridge'"),
        (np.ones((4, 2)), np.full((4, 1), 1.5), {"link": "sigmoid"}, "targets from 0 to 1"),
    ],
)
def test_errors_say_what_to_do(features, targets, options, message):
    with pytest.raises(ValueError, match=message):
        refit_logits(features, targets, **options)


def test_memory_is_stated_and_grows_with_the_readout_only():
    # 10 features of 50 examples; 32 vectors of a readout of 11 x 3; tiles of 1,000 rows.
    stated = refit_bytes(30, 20, widest=10, outputs=3)
    assert stated == 50 * 10 * 4 + 8 * (32 * 11 * 3 + 400 + 3 * 1000 * (10 + 6))
    assert refit_bytes(50000, widest=20000, outputs=10) < refit_bytes(50000, widest=20000)
    most = widest_refit(50000, width=10**6, outputs=10)
    assert refit_bytes(50000, widest=most + 1, outputs=10) > refit_bytes(
        50000, widest=most, outputs=10
    )


@pytest.mark.parametrize("penalty", [1e-6, "auto"])
def test_refits_allocate_no_more_than_is_stated(penalty):
    import tracemalloc

    features = np.random.default_rng(0).normal(size=(2500, 400)).astype("float32")
    labels = (features[:, 0] > 0).astype(int)
    tracemalloc.start()
    try:
        refit_logits(features, np.eye(2)[labels], penalty=penalty)
        allocated = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    stated = refit_bytes(2500, widest=400, outputs=2)
    assert 0.2 * stated < allocated + features.nbytes <= stated


def test_rows_in_a_cycle_judge_as_any_others_do():
    """Every tenth row is of one class here, which the others would not have."""
    labels = np.arange(400) % 10
    for rows in (logistic.held_out(400), ~logistic.held_out(400)):
        assert set(labels[rows]) == set(range(10))


def test_too_few_examples_to_judge_by_get_the_largest_penalty():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(500, 20)), np.eye(2)[rng.integers(0, 2, 500)]
    x[:, 0] += 2 * y[:, 0]
    risks = {}
    for penalty in ("auto", 1e-2, 1e-6):
        [fit] = refit_logits(x[:9], y[:9], penalty=penalty)
        logits = x @ fit.kernel + fit.bias
        risks[penalty] = np.mean(np.logaddexp.reduce(logits, axis=1) - (logits * y).sum(axis=1))
    assert risks["auto"] == risks[1e-2] < 0.6 * risks[1e-6]


def test_penalty_is_chosen_by_a_tenth_of_the_examples():
    """Many features of noise: the least penalty fits them, and the chosen one does not."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 60))
    y = np.eye(2)[(x[:, 0] + rng.normal(size=400) > 0).astype(int)]
    [little], [chosen] = (refit_logits(x[:200], y[:200], penalty=p) for p in (1e-6, "auto"))

    def risk(fit):
        f = x[200:] @ fit.kernel + fit.bias
        return np.mean(np.log(np.exp(f).sum(axis=1)) - (f * y[200:]).sum(axis=1))

    assert chosen.risk > little.risk
    assert risk(chosen) < 0.8 * risk(little)
    held = logistic.held_out(200)
    assert held.sum() == 20

    def on_held(penalty):
        [fit] = refit_logits(x[:200][~held], y[:200][~held], penalty=penalty)
        f = x[:200][held] @ fit.kernel + fit.bias
        return np.mean(np.log(np.exp(f).sum(axis=1)) - (f * y[:200][held]).sum(axis=1))

    best = min((1e-6, 1e-5, 1e-4, 1e-3, 1e-2), key=on_held)
    [by_hand] = refit_logits(x[:200], y[:200], penalty=best)
    np.testing.assert_allclose(chosen.kernel, by_hand.kernel, atol=2e-4)
    assert chosen.risk == pytest.approx(by_hand.risk, rel=1e-4)
    with pytest.raises(ValueError, match="penalty from 0 on or 'auto', received -1"):
        refit_logits(x, y, penalty=-1)
