"""The loop both methods share: record times, rows, probes, where a run stops."""

from __future__ import annotations

import numpy as np
import pytest
from crossed import some_slow
from problems import tanh_problem
from training_runs import Weights, rows_of, run, weights_of

from asym_keras.training import GradientDescent, GradientFlow, History, record_times

# Without XLA, which takes longer to compile than these runs take.
METHODS = {
    "descent": GradientDescent(0.5, jit_compile=False),
    "flow": GradientFlow(1e-4, 1e-4, time_step=0.5, jit_compile=False),
}


@pytest.fixture(params=METHODS)
def method(request):
    return METHODS[request.param]


def risk_of(model, x, y):
    return float(np.mean((model(x).numpy() - y) ** 2))


def test_record_times_by_hand():
    # (0, 1/4, 1/2, 3/4, 1) cubed times 1000 steps: 0, 15.6, 125, 421.9, 1000.
    np.testing.assert_array_equal(record_times(1000, 5), [0, 16, 125, 422, 1000])
    np.testing.assert_array_equal(
        record_times(500, 5, time_step=0.5), [0.0, 8.0, 62.5, 211.0, 500.0]
    )
    np.testing.assert_array_equal(record_times(3, 50), [0, 1, 2, 3])


def test_record_times_are_even_on_a_logarithmic_axis_on_request():
    np.testing.assert_array_equal(record_times(1000, 5, spacing="log"), [0, 1, 10, 100, 1000])
    times = record_times(500, 5, time_step=0.5, spacing="log")
    np.testing.assert_array_equal(times, [0.0, 0.5, 5.0, 50.0, 500.0])
    np.testing.assert_array_equal(record_times(1, 9, spacing="log"), [0, 1])
    with pytest.raises(ValueError, match=r"expected spacing in \('cubic', 'log'\)"):
        record_times(10, spacing="linear")


@pytest.mark.parametrize("step", [1.0, 0.1, 5.0])
@pytest.mark.parametrize("steps", [1, 7, 1000, 200_000])
@pytest.mark.parametrize("count", [2, 3, 50, 400])
def test_record_times_are_whole_steps_from_0_to_the_end(steps, count, step):
    times = record_times(steps * step, count, time_step=step)
    assert times.dtype == "float64"
    assert times[0] == 0.0
    assert times[-1] == steps * step
    assert (np.diff(times) > 0).all()
    assert len(times) <= count
    np.testing.assert_array_equal(times, step * np.round(times / step))
    if steps > 1000 * count:
        assert len(times) == count
        assert abs(np.sum(times <= steps * step / 8) - count / 2) <= 1


def test_rows_stand_at_the_steps_and_times_asked_for(method):
    problem = tanh_problem()
    history = run(problem, method, end_time=10.0, times=[0, 0.5, 3, 10])
    assert [(row["step"], row["time"]) for row in history.rows] == [
        *((0, 0.0), (1, 0.5), (6, 3.0), (20, 10.0))
    ]
    assert all(type(row["step"]) is int for row in history.rows)
    model, x, y = problem
    assert history[-1]["train_risk"] == pytest.approx(risk_of(model, x, y), rel=1e-12)
    assert history[0]["train_risk"] == pytest.approx(risk_of(*tanh_problem()), rel=1e-12)
    assert history[0]["train_risk"] > history[-1]["train_risk"]
    assert list(history[0])[:3] == ["step", "time", "train_risk"]
    clock = history.column("wall_seconds")
    assert (np.diff(clock) >= 0).all()


def test_the_end_is_recorded_and_the_start_only_if_asked_for(method):
    history = run(tanh_problem(), method, end_time=4.0, times=[1.5])
    np.testing.assert_array_equal(history.column("time"), [1.5, 4.0])


def test_descent_records_at_the_nearest_step_and_flow_at_the_time_itself():
    times = [0.1, 0.7, 1.3, 1.4]
    descent = run(tanh_problem(), METHODS["descent"], end_time=4.2, times=times)
    np.testing.assert_array_equal(descent.column("time"), [0.0, 0.5, 1.5, 4.0])
    flow = run(tanh_problem(), METHODS["flow"], end_time=4.2, times=times)
    np.testing.assert_array_equal(flow.column("time"), [*times, 4.2])
    np.testing.assert_allclose(flow.column("step"), [0.2, 1.4, 2.6, 2.8, 8.4], rtol=1e-12)


def test_default_times_are_record_times(method):
    history = run(tanh_problem(), method, end_time=30.0)
    np.testing.assert_array_equal(history.column("time"), record_times(30.0, time_step=0.5))


@pytest.mark.parametrize(
    ("kind", "end", "last"),
    [
        (GradientFlow(time_step=1.0), 0.7, 0.7),
        (GradientDescent(1.0), 2.6, 3.0),
        (GradientDescent(0.1), 0.3, 0.1 * 3),
        (GradientDescent(0.1), 0.5, 0.5),
    ],
)
def test_default_times_reach_any_end(kind, end, last):
    assert run(tanh_problem(), kind, end_time=end)[-1]["time"] == last


@pytest.mark.parametrize("times", [[-1.0, 2.0], [0.0, 11.0], [[1.0]], []])
def test_bad_times_are_refused(times, method):
    with pytest.raises(ValueError, match="record times between 0 and end_time=10"):
        run(tanh_problem(), method, end_time=10.0, times=times)


@pytest.mark.parametrize("end", [0.0, -1.0, np.inf, np.nan])
def test_bad_end_is_refused(end, method):
    with pytest.raises(ValueError, match=f"Expected a positive end_time, received {end}"):
        run(tanh_problem(), method, end_time=end, times=[0.0])


def test_descent_that_is_no_step_long_is_refused():
    with pytest.raises(ValueError, match=r"at least one step \(0.5\), received 0.1"):
        run(tanh_problem(), METHODS["descent"], end_time=0.1, times=[0.0])


class Spy:
    """A probe that notes what it was given."""

    def __init__(self):
        self.starts, self.calls = [], []

    def start(self, model):
        self.starts.append(weights_of(model))

    def __call__(self, model):
        self.calls.append(weights_of(model))
        return {}


def test_probes_start_once_with_the_initial_weights(method):
    problem, spy = tanh_problem(), Spy()
    initial = weights_of(problem[0])
    history = run(problem, method, end_time=3.0, times=[0, 1], probes={"a": spy, "b": Weights()})
    assert len(spy.starts) == 1
    np.testing.assert_array_equal(spy.starts[0], initial)
    # The probe is called at the recorded weights, also between a flow's steps.
    np.testing.assert_array_equal(spy.calls, history.arrays["weights"])
    np.testing.assert_array_equal(spy.calls[0], initial)
    np.testing.assert_array_equal(spy.calls[-1], weights_of(problem[0]))


def test_probes_may_return_numbers_arrays_and_dicts():
    probes = {
        "number": lambda model: np.float32(0.5),
        "whole": lambda model: 3,
        "array": lambda model: np.arange(2),
        "both": lambda model: {"part": 1.5, "list": [[1.0, 2.0]]},
    }
    history = run(tanh_problem(), GradientDescent(), end_time=2.0, times=[0, 1], probes=probes)
    expected = {"number": 0.5, "whole": 3, "part": 1.5}
    for row in history.rows:
        assert {name: row[name] for name in expected} == expected
    assert list(history[0]) == [
        *("step", "time", "train_risk", "number", "whole", "part", "gradients", "wall_seconds")
    ]
    assert sorted(history.arrays) == ["array", "list"]
    np.testing.assert_array_equal(history.arrays["array"], [[0, 1]] * 3)
    np.testing.assert_array_equal(history.arrays["list"], [[[1.0, 2.0]]] * 3)


def test_on_record_sees_every_row_as_it_comes(method):
    seen = []
    history = run(
        tanh_problem(),
        method,
        end_time=3.0,
        times=[0, 1],
        on_record=lambda history: seen.append((len(history), dict(history[-1]))),
    )
    assert seen == [(i + 1, row) for i, row in enumerate(history.rows)]
    assert isinstance(history, History)


@pytest.mark.parametrize("seconds", some_slow([0.0, 1e9], [1e-3]))
def test_descent_stops_after_the_step_from_the_target(seconds, monkeypatch):
    every = run(tanh_problem(), METHODS["descent"], end_time=20.0, times=np.arange(0, 20, 0.5))
    risks = every.column("train_risk")
    assert (np.diff(risks) < 0).all()
    monkeypatch.setattr("asym_keras.training.descent.CALL_SECONDS", seconds)
    target = (risks[16] + risks[17]) / 2  # met first at step 17, and noticed by the step from it
    history = run(
        tanh_problem(), METHODS["descent"], end_time=100.0, times=[0, 3, 60], target_risk=target
    )
    assert [row["step"] for row in history.rows] == [0, 6, 18]
    assert history[-1]["train_risk"] == pytest.approx(risks[18], rel=1e-12)
    assert history[-1]["gradients"] == 18


def test_flow_stops_at_the_end_of_the_step_that_meets_the_target():
    flow, end = METHODS["flow"], 100.0
    plain = run(tanh_problem(), flow, end_time=end, times=[0, 30, 31])
    target = plain[2]["train_risk"]
    history = run(tanh_problem(), flow, end_time=end, times=[0, 30, 90], target_risk=target)
    assert rows_of(history)[:2] == rows_of(plain)[:2]
    assert len(history) == 3
    assert history[-1]["train_risk"] <= target
    assert 31.0 <= history[-1]["time"] < 90.0
    # Not one step too many: at the step's start, the last but one, the target was not met yet.
    steps = history[-1]["solver_steps"]
    before = [row for row in plain.rows if row["solver_steps"] < steps]
    assert all(row["train_risk"] > target for row in before)


def test_target_that_is_never_met_changes_nothing(method):
    plain = run(tanh_problem(), method, end_time=5.0)
    assert rows_of(run(tanh_problem(), method, end_time=5.0, target_risk=0.0)) == rows_of(plain)
