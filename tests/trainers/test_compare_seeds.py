"""Runs that must not be taken for several seeds."""

from __future__ import annotations

import pytest
from synthetic_runs import write_run

from trainers import compare


def test_two_runs_of_one_seed_are_shown_but_not_averaged(tmp_path, capsys):
    for name, seed in (("a", 0), ("b", 1), ("again", 0)):
        write_run(tmp_path / name, seed=seed)
    with pytest.raises(SystemExit) as exit_:
        compare.main([str(tmp_path), "--csv", f"{tmp_path}/t.csv", "--figure", f"{tmp_path}/f.png"])
    assert exit_.value.code == 2
    printed = capsys.readouterr()
    assert printed.out.count(f"{tmp_path}/a") == 2  # a and again, each in its line
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 4
    assert "over seeds" not in printed.out
    assert not (tmp_path / "f.png").exists()
    assert f"seed 0, with the same settings: {tmp_path}/a and {tmp_path}/again" in printed.err


def test_a_run_that_is_named_twice_is_one(tmp_path, capsys):
    write_run(tmp_path / "runs" / "a")
    assert compare.main([f"{tmp_path}/runs/a", f"{tmp_path}/runs/../runs"]) == 0
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 2
    assert "over seeds" not in printed
