"""The parts of the serving benchmark that need no server: tables, targets, faults, the floor."""

from __future__ import annotations

import math
import os
import subprocess
import sys

import psutil
import pytest

from benchmarks.load.results import Result
from benchmarks.serving import __main__ as serving
from benchmarks.serving import floor, models, planning, report, server


def result(*, p50=0.001, throughput=1000.0, generator=0.1, **errors) -> Result:
    latencies = (p50, 2 * p50, 3 * p50, 4 * p50)
    return Result("m", 10, errors, latencies, throughput, (throughput,), 64.0, 0.0, generator)


def outcome(width, *, alone=None, crowd=None, floor=0.0005, others=0.0):
    return report.Outcome("REST", 64, width, alone or result(), crowd or result(), floor, others)


def test_table_compares_with_the_whole_network():
    small = outcome(100, alone=result(p50=0.0004), crowd=result(throughput=2500.0), floor=0.0001)
    head, _, whole, pruned = report.outcome_table([outcome(2000), small], 8).splitlines()
    assert "requests/s, 8 clients" in head
    assert whole.split()[:9] == ["REST", "64", "2000", "1", "3", "0.5", "2", "1.00", "x"]
    # 1 ms / 0.4 ms = 2.5 shorter, 0.4 ms / 0.1 ms = 4 floors, 2500 / 1000 = 2.5 more
    assert pruned.split()[3:13] == [
        *("0.4", "1.2", "0.1", "4", "2.50", "x"),
        *("2,500", "64", "2.50", "x"),
    ]


@pytest.mark.parametrize(("size", "verdict"), [(1000, "met"), (1001, "MISSED")])
def test_target_of_size_is_a_fifteenth(size, verdict):
    sizes = {2000: 15_000, 100: size}
    assert report.targets(sizes).splitlines()[-1].split()[-1] == verdict
    assert report.size_table(sizes).splitlines()[2].split()[-2:] == ["1.0", "x"]


def test_wrong_answers_and_failed_requests_are_faults():
    fine = {("REST", 2000): 1e-5}
    assert not report.faults([outcome(2000)], fine)
    assert len(report.faults([], {("REST", 2000): 1.1e-5, ("gRPC", 100): math.nan})) == 2
    (fault,) = report.faults([outcome(100, crowd=result(UNAVAILABLE=3))], fine)
    assert "100 nodes: 3 requests failed: {'UNAVAILABLE': 3}" in fault


def test_warnings_are_said_once():
    busy = [outcome(2000, others=0.5), outcome(100, others=0.5)]
    assert len(report.warnings(busy)) == 1
    (generator,) = report.warnings([outcome(100, crowd=result(generator=0.9))])
    assert "100 nodes: the load generator used 90 %" in generator
    assert not report.warnings([outcome(100)])


def test_floors_are_of_every_shape_and_grow():
    found = floor.floors(784, [10, 2000], 10, [64])
    assert set(found) == {(10, 64), (2000, 64)}
    # 0.2 GFLOP against 0.001: below the time of the larger, whatever else the machine does
    assert 0 < found[10, 64] < found[2000, 64]


@pytest.mark.parametrize(
    "flags", [["--clients", "0"], ["--rounds", "0"], ["--seconds", "0"], ["--json", "no/such/f"]]
)
def test_wrong_flags_are_told_before_the_work(flags, capsys):
    with pytest.raises(SystemExit):
        serving.parse(flags)
    assert "expected" in capsys.readouterr().err


def need(width, count, *, size, start, memory):
    return planning.Need(width, count, size * 10**6, start, memory * 1e6, 2e6 * memory)


def test_rules_for_planning_are_lines_through_what_was_measured():
    # 100 MB alone, 3 MB a MB on disk; 20 MB and 0.5 s a model
    needs = [
        need(50, 1, size=1, start=4.0, memory=103),
        need(2000, 1, size=10, start=4.0, memory=130),
        need(2000, 5, size=50, start=6.0, memory=210),
        need(2000, 11, size=110, start=9.0, memory=330),
        need(20_000, 1, size=100, start=5.0, memory=400),
    ]
    told = planning.rules(needs)
    assert "The server alone: 100 MB. Each MB of a model on disk: 3.0 MB." in told
    assert "further model of 2000 nodes: 20 MB, 0.5 s at the start." in told
    first = planning.need_table(needs).splitlines()[2]
    assert first.split() == ["1", "50", "1", "4", "103", "206"]


def test_memory_is_that_of_the_server_and_not_of_its_launcher(monkeypatch):
    mine = server.Server(server.PREVIEW, {}, os.getpid(), 1.0)
    assert 10e6 < mine.memory() <= mine.peak_memory() or math.isnan(mine.peak_memory())
    real = server.Server(server.BINARY, {}, os.getpid(), 1.0)
    with pytest.raises(RuntimeError, match="expected tensorflow_model_server among"):
        real.memory()
    code = "import sys; print(flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as child:
        child.stdout.readline()
        monkeypatch.setattr(server, "BINARY", psutil.Process(child.pid).name())
        assert 1e6 < real.memory() < mine.memory()
        child.stdin.close()


def test_models_of_one_kind_are_copies(tmp_path):
    (tmp_path / "nodes" / "1").mkdir(parents=True)
    (tmp_path / "nodes" / "1" / "saved_model.pb").write_bytes(b"model")
    for count in (1, 3):
        planning.copies(tmp_path, "nodes", count)
        assert len(list(tmp_path.glob("*/1/saved_model.pb"))) == count


def test_the_widths_of_planning_have_the_one_that_is_copied():
    assert planning.COPIED in planning.WIDTHS
    assert planning.COPIED in models.WIDTHS
