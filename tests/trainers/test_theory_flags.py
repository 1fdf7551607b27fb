"""The flags of the theory command: told when bad, and before anything heavy is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

from trainers import theory
from trainers.common import cli

BAD_FLAGS = [
    (["--gamma", "1.5"], "gamma"),
    (["--alpha", "1"], "alpha"),
    (["--width", "0"], "width"),
    (["--delta", "0"], "--delta: expected a number in (0, 1), received 0.0."),
    (["--delta", "nan"], "--delta: expected a number in (0, 1), received nan."),
    (["--examples", "0"], "--examples: expected at least 1, received 0."),
    (["--target", "-1"], "--target: expected a number of the targets, from 0, received '-1';"),
    (["--target", "y", "--dataset", "energy"], "received 'y'; a name is for a column of --data"),
    (["--steps", "0"], "--steps: expected at least 1, received 0."),
    (["--records", "1"], "--records: expected at least 2, received 1."),
    (["--draws", "1"], "--draws: expected at least 2, received 1."),
    (["--seed", "-1"], "--seed: expected at least 0, received -1."),
    (["--data-seed", "-1"], "--data-seed: expected at least 0, received -1."),
    (["--rtol", "nan"], "--rtol: expected a positive number, received nan."),
    (["--atol", "0"], "--atol: expected a positive number, received 0.0."),
    (["--scale", "mean"], "--scale: invalid choice: 'mean'"),
    (["--dataset", "wine"], "--dataset: invalid choice: 'wine'"),
    (["--data", "none.npz"], "expected an .npz or .csv file, received no such file: none.npz."),
    (
        ["--data", "none.CSV", "--target", "y"],
        "expected an .npz or .csv file, received no such file: none",
    ),
    (["--data", __file__, "--dataset", "mnist"], "--data FILE or --dataset, received both"),
    (["--dataset", "energy", "--input-dim", "8"], "received energy, whose dimension is given."),
    (["--dataset", "mnist", "--input-dim", "3"], "--input-dim: expected --dataset simulated or"),
    (
        ["--dataset", "orthogonal", "--examples", "9", "--input-dim", "8"],
        "--examples: expected at most --input-dim 8 orthogonal ones, received 9.",
    ),
    (["--resume", "--overwrite"], "expected --resume or --overwrite, received both."),
    (["--pairs", "all"], "unrecognized arguments: --pairs all"),
]


def parse(*argv):
    return cli.parse_config(theory.Config, argv, module=theory.MODULE, description=None)


@pytest.mark.parametrize(("argv", "message"), BAD_FLAGS, ids=[" ".join(a) for a, _ in BAD_FLAGS])
def test_bad_flag_is_told_with_exit_code_2(argv, message, capsys, monkeypatch):
    monkeypatch.setattr(theory.Config, "load", lambda self: pytest.fail("loaded"))
    with pytest.raises(SystemExit) as caught:
        theory.main(argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_and_bad_flags_load_nothing_heavy():
    script = (
        "import ast, sys\nfrom trainers.theory import main\n"
        "for argv in ast.literal_eval(sys.argv[1]):\n"
        "    try:\n        main(argv)\n    except SystemExit:\n        pass\n"
        "print('heavy:', {'tensorflow', 'keras', 'matplotlib', 'scipy'} & set(sys.modules))\n"
    )
    cases = repr([["--help"], *(argv for argv, _ in BAD_FLAGS)])
    done = subprocess.run(
        [sys.executable, "-c", script, cases], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "heavy: set()"
    for flag in vars(parse()):
        assert f"--{flag.replace('_', '-')}" in done.stdout
    assert "python -m trainers.theory --dataset simulated --gamma 0.5" in done.stdout


def test_default_folder_tells_task_and_settings():
    config = parse("--dataset", "mnist", "--width", "100", "--seed", "2")
    assert str(config.path()) == "runs/theory-mnist-g0.5-a0.4-m100-s2"
