"""Early stopping: the median rule against a slow one, and the probe that applies it."""

from __future__ import annotations

import types

import numpy as np
import pytest

from asym_keras.tables import History
from trainers.sweep import stopping as sweep_stopping
from trainers.sweep.stopping import TrialStopped, Watch, is_hopeless, read_records

NAME = "val_risk_pruned"
TIMES = np.array([0.0, 1.0, 8.0, 27.0, 64.0])


def records(*pairs):
    return tuple(np.array(pairs, dtype="float64").reshape(-1, 2).T)


def slow_rule(own, others, sign):
    """The rule, as its docstring says it."""
    t = own[0][-1]
    b = max(sign * v for v in own[1] if not np.isnan(v))
    bests = []
    for times, values in others:
        if len(times) and max(times) >= t:
            seen = [sign * v for s, v in zip(times, values, strict=True) if s <= t and v == v]
            bests += [max(seen)] if seen else []
    if len(bests) < 5:
        return False
    bests.sort()
    middle = len(bests) // 2
    median = bests[middle] if len(bests) % 2 else (bests[middle - 1] + bests[middle]) / 2
    return b < median


@pytest.mark.parametrize("larger", [True, False])
def test_rule_equals_the_slow_one(larger):
    generator = np.random.default_rng(0)
    verdicts = []
    for _ in range(300):
        others = []
        for _ in range(generator.integers(4, 14)):
            times = np.unique(generator.integers(0, 20, generator.integers(0, 12))).astype(
                "float64"
            )
            values = generator.normal(size=len(times))
            values[generator.random(len(times)) < 0.2] = np.nan
            others.append((times, values))
        times = np.unique(generator.integers(0, 12, 2)).astype("float64")
        own = times, generator.normal(size=len(times))
        verdict, _, _ = is_hopeless(own, others, larger_is_better=larger)
        assert verdict == slow_rule(own, others, 1.0 if larger else -1.0)
        verdicts.append(verdict)
    assert 30 < sum(verdicts) < 270


def test_rule_by_hand():
    others = [records((1, k / 10), (2, 0.9)) for k in range(1, 6)]
    assert is_hopeless(records((1, 0.29)), others, larger_is_better=True)[0]
    hopeless, best, median = is_hopeless(records((1, 0.3)), others, larger_is_better=True)
    assert (hopeless, best, median) == (False, 0.3, 0.3)
    # An earlier, better value counts; others that have not come as far do not.
    assert not is_hopeless(records((0.5, 0.4), (1, 0.0)), others, larger_is_better=True)[0]
    assert not is_hopeless(records((3, 0.0)), others, larger_is_better=True)[0]
    assert not is_hopeless(records((1, 0.0)), others[1:], larger_is_better=True)[0]
    assert is_hopeless(records((1, 0.31)), others, larger_is_better=False)[0]


class Run:
    """A run that calls the watch as the training loop does, and writes its history."""

    def __init__(self, path, *, others=None, resumed=False, labels=None):
        self.path, self.asked, self.rows = path, [], []
        self.names = [NAME] if labels is None else [NAME, "val_accuracy_pruned"]
        validation = types.SimpleNamespace(names=lambda: self.names, of=self._measure)
        self.watch = Watch(
            validation,
            path,
            TIMES,
            NAME,
            others=others,
            larger_is_better=False,
            resumed=resumed,
        )

    def _measure(self, model):
        self.asked.append(model)
        return dict.fromkeys(self.names, model)

    def record(self, time, value):
        self.rows.append({"time": time, **self.watch(value)})
        History(self.rows).to_csv(self.path)


def good_others():
    return [records((8, 1.0), (27, 0.5), (64, 0.5))] * 5


def test_watch_looks_where_it_should_and_never_at_the_test_rows(tmp_path):
    run = Run(tmp_path / "history.csv", labels=True)
    for place, time in enumerate(TIMES):
        run.record(time, float(place))
    times, values = read_records(tmp_path / "history.csv", NAME)
    assert times.tolist() == TIMES.tolist()
    np.testing.assert_array_equal(values, [np.nan, np.nan, 2.0, 3.0, np.nan])
    assert run.asked == [2.0, 3.0]
    for row in run.rows:
        assert np.isnan([row["test_risk"], row["test_accuracy"]]).all()


def test_watch_ends_a_hopeless_run_at_its_record(tmp_path):
    run = Run(tmp_path / "history.csv", others=good_others)
    run.record(0.0, 9.0)
    run.record(1.0, 9.0)
    run.record(8.0, 1.0)
    with pytest.raises(
        TrialStopped, match=r"0\.9 at best until t = 27, by when half .* 0\.5"
    ) as caught:
        run.record(27.0, 0.9)
    assert caught.value.numbers == {NAME: 0.9, "time": 27.0}


def test_watch_lets_a_run_that_has_come_to_its_end_pass(tmp_path):
    run = Run(tmp_path / "history.csv", others=good_others)
    for time, value in zip(TIMES, (9.0, 9.0, 1.0, 0.5, 7.0), strict=True):
        run.record(time, value)
    assert len(run.rows) == 5


def test_a_resumed_run_is_judged_when_its_place_is_known(tmp_path):
    first = Run(tmp_path / "history.csv")
    for time in TIMES[:4]:
        first.record(time, 0.1)
    run = Run(tmp_path / "history.csv", others=good_others, resumed=True)
    run.rows = first.rows[:2]  # the checkpoint is older than the table
    run.record(8.0, 1.1)  # hopeless, but not known to be at 8
    assert run.asked == []
    with pytest.raises(TrialStopped, match="until t = 27"):
        run.record(27.0, 1.1)


def test_a_new_run_does_not_read_an_old_table(tmp_path):
    old = Run(tmp_path / "history.csv")
    for time in TIMES:
        old.record(time, 0.1)
    run = Run(tmp_path / "history.csv", others=good_others)
    run.record(0.0, 9.0)
    run.record(1.0, 9.0)
    assert run.asked == []


def test_others_are_read_from_their_tables(tmp_path):
    assert [len(a) for a in read_records(tmp_path / "none.csv", NAME)] == [0, 0]
    History([{"time": 1.0, "train_risk": 2.0}]).to_csv(tmp_path / "history.csv")
    assert [len(a) for a in read_records(tmp_path / "history.csv", NAME)] == [0, 0]
    assert sweep_stopping.LEAST_OTHERS == 5
