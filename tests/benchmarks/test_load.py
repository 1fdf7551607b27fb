"""Load on a server: loops, percentiles, reports, and both protocols end to end."""

from __future__ import annotations

import asyncio
import csv
import json
import math
import time

import numpy as np
import pytest
from client_grpc_server import grpc_server
from client_servers import Model, rest_server

from benchmarks.load import __main__ as program
from benchmarks.load import loops, report, results
from benchmarks.load.__main__ import contenders
from benchmarks.load.loops import Sample
from benchmarks.load.measure import measure, random_inputs
from benchmarks.load.plan import Plan
from benchmarks.load.results import Result
from benchmarks.load.senders import sender
from serving.client import ServingError
from serving.client.endpoint import parse_endpoint
from serving.client.signatures import Signature, TensorSpec

X = np.arange(12, dtype=np.float32).reshape(3, 4)
SHORT = Plan(clients=2, warmup=0.05, duration=0.2, rounds=2, timeout=5)


@pytest.fixture
def model():
    return Model()


@pytest.fixture(params=["http", "grpc"])
def endpoint(request, model):
    server = rest_server if request.param == "http" else grpc_server
    with server(model) as port:
        yield parse_endpoint(f"{request.param}://127.0.0.1:{port}", "m", token="s3cret")


def result(**changes) -> Result:
    numbers = dict(
        name="m",
        requests=10,
        errors={},
        latencies=(0.001, 0.002, 0.003, 0.25),
        throughput=1234.5,
        throughput_rounds=(1200.0, 1269.0),
        rows=2469.0,
        late=0.0,
        generator=0.25,
    )
    return Result(**{**numbers, **changes})


def test_percentiles_are_latencies_that_occurred():
    values = [float(n) for n in range(1, 101)]
    assert [results.percentile(values, p) for p in (50, 90, 99, 100)] == [50, 90, 99, 100]
    assert results.percentile([3.0, 1.0], 50) == 1
    assert results.percentile([3.0, 1.0], 51) == 3
    assert math.isnan(results.percentile([], 50))


def test_summary_leaves_out_warm_up_and_failures():
    plan = Plan(warmup=1, duration=2, batch_size=10)
    first = [
        Sample(0.5, 0.1, "OK"),  # all in the warm-up
        Sample(0.9, 0.2, "OK"),  # answered in the time that counts, sent before
        Sample(1.0, 0.3, "OK", late=0.01),
        Sample(2.0, 0.5, "OK"),
        Sample(2.1, 9.0, "DEADLINE_EXCEEDED"),
        Sample(2.9, 0.4, "OK"),  # answered after the end
    ]
    one = results.summarize("m", [first, []], plan, generator=0.5)
    assert one.requests == 3
    assert one.errors == {"DEADLINE_EXCEEDED": 1}
    assert one.latencies == (0.4, 0.5, 0.5, 0.5)
    assert one.throughput_rounds == (1.5, 0.0)
    assert one.throughput == 0.75
    assert one.rows == 7.5
    assert one.late == 0.01


def test_closed_loop_has_so_many_requests_at_once_and_no_more():
    now = most = 0

    async def send(timeout):
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        return "OK"

    plan = Plan(clients=4, warmup=0, duration=0.2)
    samples = asyncio.run(loops.closed_loop(send, plan))
    assert most == 4
    assert 4 <= len(samples) <= 4 * 21
    assert all(sample.latency >= 0.0099 for sample in samples)
    assert all(sample.start < 0.2 for sample in samples)


def test_poisson_times_follow_the_law():
    times = loops.poisson_times(1000, 50, np.random.default_rng(0))
    gaps = np.diff(times)
    # Count: mean 50,000, deviation 224. Gaps: exponential of mean and deviation 1 ms.
    assert abs(len(times) - 50_000) < 5 * 224
    assert gaps.min() >= 0
    assert times[-1] < 50
    assert np.mean(gaps) == pytest.approx(1e-3, rel=0.03)
    assert np.std(gaps) == pytest.approx(1e-3, rel=0.03)
    assert np.mean(gaps > 1e-3) == pytest.approx(math.exp(-1), abs=0.01)


def test_open_loop_counts_from_the_time_that_was_meant():
    async def measured():
        lock = asyncio.Lock()

        async def send(timeout):
            async with lock:  # a server that answers one request after another
                await asyncio.sleep(0.05)
            return "OK"

        return await loops.open_loop(send, [0.0, 0.01, 0.02], timeout=5)

    samples = asyncio.run(measured())
    assert [sample.start for sample in samples] == [0.0, 0.01, 0.02]
    for sample, least in zip(samples, (0.05, 0.09, 0.13), strict=True):
        assert sample.latency >= least - 1e-3


def test_open_loop_owns_up_to_being_late():
    async def send(timeout):
        time.sleep(0.1)  # the generator stands still
        return "OK"

    samples = asyncio.run(loops.open_loop(send, [0.0, 0.01], timeout=5))
    assert samples[1].late >= 0.085
    assert samples[1].latency >= 0.185


def test_open_loop_fails_what_is_past_its_time_unsent():
    sent = []

    async def send(timeout):
        sent.append(timeout)
        time.sleep(0.1)
        return "OK"

    samples = asyncio.run(loops.open_loop(send, [0.0, 0.01], timeout=0.05))
    assert [sample.code for sample in samples] == ["OK", "DEADLINE_EXCEEDED"]
    assert len(sent) == 1


def test_sender_sends_batches_in_turn_with_the_token(endpoint, model):
    batches = [{"inputs": X[:1]}, {"inputs": X[1:2]}]

    async def send_three():
        async with sender(endpoint, batches, signature="serving_default", connections=2) as send:
            return [await send(5.0) for _ in range(3)]

    assert asyncio.run(send_three()) == ["OK"] * 3
    calls = model.calls("predict")
    for (_, headers, arrays), row in zip(calls, (0, 1, 0), strict=True):
        lower = {name.lower(): value for name, value in headers.items()}
        assert lower["authorization"] == "Bearer s3cret"
        inputs = arrays["inputs"]
        np.testing.assert_array_equal(inputs["inputs"] if "inputs" in inputs else inputs, X[[row]])


def test_sender_tells_failures_by_code_and_tries_nothing_again(endpoint, model):
    model.faults += [("UNAVAILABLE", "busy"), ("INTERNAL", "no"), 0.5]

    async def send_three():
        async with sender(
            endpoint, [{"inputs": X}], signature="serving_default", connections=1
        ) as send:
            return [await send(5.0), await send(5.0), await send(0.1)]

    assert asyncio.run(send_three()) == ["UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED"]
    assert len(model.calls("predict")) == 3


@pytest.mark.slow
@pytest.mark.parametrize("rate", [None, 100.0])
def test_models_take_turns(endpoint, model, rate):
    plan = Plan(**{**SHORT.__dict__, "rate": rate})
    found = measure({"a": endpoint, "b": endpoint}, plan, inputs=X)
    assert [one.name for one in found] == ["a", "b"]
    for one in found:
        assert not one.errors
        assert one.requests > 0
        assert len(one.throughput_rounds) == 2
        assert 0 < one.latencies[0] <= one.latencies[1] <= one.latencies[2] <= one.latencies[3] < 5
        assert one.generator > 0


def test_failures_are_counted_not_raised(endpoint, model):
    model.faults += [0.0] + [("INTERNAL", "")] * 2  # the first request goes before the clock
    plan = Plan(clients=1, warmup=0, duration=0.5, rounds=1)
    (one,) = measure({"a": endpoint}, plan, inputs=X)
    assert one.errors == {"INTERNAL": 2}
    assert one.requests > 0


def test_first_request_finds_what_cannot_work(endpoint):
    with pytest.raises(ServingError, match="FAILED_PRECONDITION"):
        measure({"a": endpoint}, SHORT, inputs=X, signature={"a": "nope"})
    with pytest.raises(ValueError, match="expected shape"):
        measure({"a": endpoint}, SHORT, inputs=X[:, :3])
    with pytest.raises(ValueError, match="at least one row"):
        measure({"a": endpoint}, SHORT, inputs=X[:0])


def test_signatures_are_contenders():
    both = contenders(["many"], "width_20, width_2000")
    assert both == {"width_20": ("many", "width_20"), "width_2000": ("many", "width_2000")}
    assert contenders(["a", "b"], "serving_default") == {
        name: (name, "serving_default") for name in "ab"
    }
    assert contenders(["a", "b"], "x,y")["b x"] == ("b", "x")
    with pytest.raises(ValueError, match="expected different names, received x,x"):
        contenders(["a"], "x,x")


def test_random_inputs_are_whole_numbers_of_the_signature():
    specs = {"a": TensorSpec("float32", (None, 4)), "b": TensorSpec("uint8", (None, 2, 3))}
    drawn = random_inputs(Signature(specs, {}, ""), 5, np.random.default_rng(0))
    assert drawn["a"].shape == (5, 4)
    assert drawn["b"].shape == (5, 2, 3)
    assert drawn["a"].dtype == np.float32
    assert (drawn["a"] == np.rint(drawn["a"])).all()
    with pytest.raises(ValueError, match="give rows to send"):
        random_inputs(Signature({"a": TensorSpec("float32", None)}, {}, ""), 5, None)


def test_table_and_warnings():
    lines = report.table([result(), result(name="other", requests=0)]).splitlines()
    assert lines[0].split()[:3] == ["model", "p50", "ms"]
    assert lines[1].split() == ["m", "1", "2", "3", "250", "1,234", "2,469", "0"]
    assert len(lines) == 3
    (errors,) = report.warnings([result(errors={"UNAVAILABLE": 3})])
    assert errors == "m: errors: 3 UNAVAILABLE"
    (busy,) = report.warnings([result(generator=0.9)])
    assert "90 % of a core" in busy
    (late,) = report.warnings([result(late=0.02)])
    assert "20.0 ms late" in late


def test_json_and_csv_hold_all_numbers(tmp_path):
    nothing = result(name="none", latencies=(math.nan,) * 4)
    for name in ("a.json", "a.csv"):
        report.write(tmp_path / name, [result(), nothing], SHORT, "http://h:1")
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["plan"]["clients"] == 2
    assert content["address"] == "http://h:1"
    assert content["results"][0]["p99_ms"] == 3
    assert content["results"][0]["requests_per_second_rounds"] == [1200, 1269]
    assert content["results"][1]["p50_ms"] is None
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [row["model"] for row in rows] == ["m", "none"]
    assert float(rows[0]["max_ms"]) == 250


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"clients": 0}, "clients: expected at least 1"),
        ({"rounds": 0}, "rounds"),
        ({"batch_size": 0}, "batch_size"),
        ({"rate": 0.0}, "rate: expected a positive"),
        ({"duration": math.inf}, "duration"),
        ({"timeout": 1e10}, "timeout: expected at most 2147483 seconds"),
        ({"warmup": -1}, "warmup"),
        ({"seed": -1}, "seed"),
    ],
)
def test_plan_checks_its_numbers(changes, text):
    with pytest.raises(ValueError, match=text):
        Plan(**changes)


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--models", "m,m"], "different names"),
        (["--models", "m", "--clients", "0"], "clients: expected at least 1"),
        (["--models", "m", "--output", "a.txt"], "ends in .json or .csv"),
        (["--models", "m,other"], "model 'other'"),
    ],
)
def test_flags_are_checked_before_anything_is_measured(model, capsys, flags, text):
    with rest_server(model) as port:
        assert program.main(["--url", f"http://127.0.0.1:{port}", *flags]) == 1
    assert text in capsys.readouterr().err
    assert len(model.calls("predict")) <= 1
