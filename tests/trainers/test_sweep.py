"""The command line of sweeps, their folder, and the part of a process in them."""

from __future__ import annotations

import importlib.util
import itertools
import logging
import subprocess
import sys
import threading
import time

import pytest

from asym_keras.extras import install_command
from trainers import sweep
from trainers.common import cli
from trainers.sweep import crew as sweep_crew
from trainers.sweep import run as sweep_run
from trainers.sweep.config import CLASSIFICATIONS
from trainers.sweep.folder import SweepFolder

VARIABLES = (sweep_crew.TUNER_ID, sweep_crew.ORACLE_IP, sweep_crew.ORACLE_PORT)


def parse(*argv):
    return cli.parse_config(sweep.Config, argv, module=sweep.MODULE, description=None)


@pytest.fixture(autouse=True)
def no_crew(monkeypatch):
    for name in (*VARIABLES, sweep_crew.LAUNCHED):
        monkeypatch.delenv(name, raising=False)


def test_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom trainers.sweep import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    heavy = {"numpy", "tensorflow", "keras", "keras_tuner", "scipy", "matplotlib"}
    assert not heavy & set(done.stderr.split())
    assert "python -m trainers.sweep --task mnist --keep 100 --trials 30" in done.stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--keep", "0"], "--keep: expected at least 1, received 0"),
        (["--keep", "60", "--width", "50"], "--keep: expected at most the width, 50"),
        (["--keep", "60", "--widths", "50:90"], "--keep: expected at most the width, 50"),
        (["--max-failures", "0"], "--max-failures: expected at least 1"),
        (["--max-time", "nan"], "--max-time: expected a positive number, received nan"),
        (["--gammas", "0:1.5"], "--gammas: expected LOW:HIGH with LOW at most HIGH, from 0 to 1"),
        (["--gammas", "0.5"], "--gammas: expected LOW:HIGH, received '0.5'"),
        (["--alphas", "0:0.5"], "--alphas: expected LOW:HIGH with LOW at most HIGH, within (0, 1)"),
        (["--alphas", "0.5:1"], "within (0, 1)"),
        (["--alphas", "0.5:0.4"], "received 0.5:0.4"),
        (["--widths", "200:300", "--width", "200"], "expected --widths or --width, received both"),
        (["--times", "10:20", "--steps", "20"], "expected --times or --steps, received both"),
        (["--task", "energy", "--objective", "val_accuracy_pruned"], "expected a task with class"),
        (["--rates", "0.01:0.1"], "--rates: expected --nested with it, received none"),
        (["--task", "cifar10"], "--task cifar10: expected --features FILE.npz with it"),
        (["--resume", "--overwrite"], "expected --resume or --overwrite"),
        (["--workers", "2", "--jobs", "2"], "expected --workers or --jobs, received both"),
    ],
)
def test_bad_flags_are_told(argv, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_what_is_best_follows_the_task():
    assert parse().measure() == "val_accuracy_pruned_refit"
    assert parse("--no-refit").measure() == "val_accuracy_pruned"
    assert parse("--task", "energy").measure() == "val_risk_pruned_refit"
    assert parse("--objective", "val_risk_pruned", "--no-refit").measure() == "val_risk_pruned"
    assert parse().larger_is_better()
    assert not parse("--task", "energy").larger_is_better()
    assert CLASSIFICATIONS == ("mnist", "cifar10")


def test_jobs_are_workers():
    assert [parse(*a).crew() for a in ((), ("--jobs", "3"), ("--workers", "1"))] == [0, 3, 1]


def test_a_folder_is_never_reused_in_silence(tmp_path):
    path = ("--out-dir", str(tmp_path / "s"))
    folder = SweepFolder(tmp_path / "s")
    folder.check(parse(*path))
    folder.open(parse(*path), "the first command")
    with pytest.raises(FileExistsError, match=r"where a sweep is\. Use --resume, --overwrite or"):
        folder.check(parse(*path))
    folder.check(parse(*path, "--resume", "--trials", "99", "--max-time", "5", "--workers", "2"))
    with pytest.raises(ValueError, match=r"received others: keep \(100 there, 90 here\)"):
        folder.check(parse(*path, "--resume", "--keep", "90"))
    folder.write_record({"trial": "0", "status": "failed"})
    folder.open(parse(*path, "--resume"), "the second command")
    assert folder.record("0") == {"trial": "0", "status": "failed", "tuner": "tuner0"}
    assert "the first command" in (folder.path / "sweep.json").read_text()
    folder.open(parse(*path, "--overwrite", "--keep", "90"), "the third command")
    assert folder.record("0") is None
    assert "the third command" in (folder.path / "sweep.json").read_text()


@pytest.mark.parametrize(
    ("flags", "other"),
    [
        ((), "refits (by cross-entropy here)"),
        (("--nested",), "first readouts (zeros for classes here), left-out rows (drawn here)"),
        (("--task", "energy"), None),  # by ridge regression now as then
    ],
)
def test_a_sweep_whose_numbers_were_made_otherwise_does_not_go_on(flags, other, tmp_path):
    config = parse(*flags, "--resume", "--out-dir", str(tmp_path / "s"))
    folder = SweepFolder(tmp_path / "s")
    folder.open(config, "a command")
    folder.check(config)
    content = folder.read("sweep.json")
    content.pop("methods", None)  # as an earlier version wrote it
    folder.write("sweep.json", content)
    if other is None:
        folder.check(config)
        return
    with pytest.raises(ValueError, match=r"--resume: expected a sweep of this version") as caught:
        folder.check(config)
    assert f"an earlier version, with other {other}. Its numbers" in str(caught.value)
    assert "Start anew in another --out-dir." in str(caught.value)


def test_what_is_no_sweep_is_not_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("x")
    (tmp_path / "sweep.json").write_text("{}")
    folder = SweepFolder(tmp_path)
    for flag in ("--overwrite", "--resume"):
        with pytest.raises(FileExistsError, match="where something that is no sweep is"):
            folder.open(parse(flag, "--out-dir", str(tmp_path)), "")
    assert (tmp_path / "thesis.txt").exists()


def test_records_are_in_order(tmp_path):
    folder = SweepFolder(tmp_path / "s")
    folder.open(parse("--out-dir", str(folder.path)), "")
    for trial in ("10", "9", "101"):
        folder.write_record({"trial": trial})
    assert [record["trial"] for record in folder.records()] == ["9", "10", "101"]


FILES = ("tuner/oracle.json", "tuner/trial_0/trial.json", "tuner/tuner0.json", "trials/0.json")
DAMAGES = ("", "{", "[]", "{}", "\udcff")
EMPTY = ("tuner/tuner0.json", "{}")  # as KerasTuner writes it


@pytest.mark.parametrize(
    ("name", "content"), [case for case in itertools.product(FILES, DAMAGES) if case != EMPTY]
)
def test_a_damaged_file_is_named_before_a_sweep_goes_on(tmp_path, name, content, capsys):
    folder = SweepFolder(tmp_path / "s")
    flags = ["--out-dir", str(folder.path)]
    folder.open(parse(*flags), "")
    folder.write_record({"trial": "1", "status": "failed"})
    damaged = folder.path / name
    damaged.parent.mkdir(parents=True, exist_ok=True)
    damaged.write_text('{"a": 1}')
    folder.require_readable()
    damaged.write_text(content, errors="surrogateescape")
    with pytest.raises(SystemExit) as caught:
        sweep.main([*flags, "--resume"])
    assert caught.value.code == 1
    error = capsys.readouterr().err
    assert f"expected the JSON of a sweep in {damaged}, received" in error
    assert "--overwrite" in error


@pytest.mark.parametrize(
    ("ended", "seconds", "told"),
    [
        (4, 1.0, ""),
        (1, 1.0, "1 of 4 trials: the space has no other point"),
        (1, 9.0, "1 of 4 trials: the time is over"),
    ],
)
def test_a_sweep_that_ends_early_says_why(ended, seconds, told, caplog):
    caplog.set_level(logging.INFO)
    config = parse("--trials", "4", "--max-time", "5")
    sweep_run._tell_early_end(config, ended, seconds)
    assert caplog.messages == [told] * bool(told)


def test_a_worker_waits_for_its_chief(tmp_path):
    folder = SweepFolder(tmp_path / "s")
    config = parse("--out-dir", str(folder.path))
    with pytest.raises(FileNotFoundError, match="expected the chief to make"):
        folder.wait_for_chief(config, patience=0.0)
    chief = threading.Thread(target=lambda: (time.sleep(0.3), folder.open(config, "")))
    chief.start()
    folder.wait_for_chief(config, patience=30.0)
    chief.join()
    with pytest.raises(ValueError, match="expected the settings of the sweep"):
        folder.wait_for_chief(parse("--keep", "7"), patience=0.0)


def set_variables(monkeypatch, *values):
    for name, value in zip(VARIABLES, values, strict=False):
        monkeypatch.setenv(name, value)


def test_the_part_in_a_sweep_is_by_the_environment(monkeypatch):
    config = parse()
    assert sweep_crew.role(config) == "alone"
    assert sweep_crew.known_ids(config, "alone") == {"tuner0"}
    set_variables(monkeypatch, "node3")
    with pytest.raises(ValueError, match="all set, or none, received none for KERASTUNER_ORACLE_I"):
        sweep_crew.role(config)
    set_variables(monkeypatch, "node3", "127.0.0.1", "8000")
    assert sweep_crew.role(config) == "worker"
    set_variables(monkeypatch, "my-chief")
    assert sweep_crew.role(config) == "chief"
    assert sweep_crew.known_ids(config, "chief") is None


def test_workers_neither_overwrite_nor_launch(monkeypatch, tmp_path, capsys):
    out = ("--out-dir", str(tmp_path / "s"))
    SweepFolder(tmp_path / "s").open(parse(*out), "")
    set_variables(monkeypatch, "node3", "127.0.0.1", "8000")
    for flags, message in (
        (["--overwrite"], "--overwrite: expected it at the chief alone"),
        (["--workers", "2"], "--workers: expected no KERASTUNER_TUNER_ID"),
    ):
        with pytest.raises(SystemExit):
            sweep.main([*out, *flags])
        assert message in capsys.readouterr().err
    assert (tmp_path / "s" / "sweep.json").is_file()
    monkeypatch.setenv(sweep_crew.LAUNCHED, "1")
    assert sweep_crew.known_ids(parse("--workers", "2"), "chief") == {"worker0", "worker1"}


@pytest.mark.parametrize("missing", ["keras_tuner", "tensorboard", "sklearn"])
def test_a_missing_extra_is_named_before_any_work(missing, monkeypatch, tmp_path, capsys):
    there = importlib.util.find_spec

    def find_spec(name, package=None):
        return None if name == missing else there("json")

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    with pytest.raises(SystemExit):
        sweep.main(["--out-dir", str(tmp_path / "s")])
    assert install_command("tune") in capsys.readouterr().err
    assert not (tmp_path / "s").exists()
