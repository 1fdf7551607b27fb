"""The command line: help, bad flags, errors and exit codes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from trainer_runs import parse

from asym_keras.training import TrainingError
from trainers import mnist
from trainers.common import cli

HEAVY = ["numpy", "tensorflow", "keras", "matplotlib", "scipy", "tqdm", "tensorflow_datasets"]
NOT_THERE = "no-such-file.npz"
BAD_FLAGS = [
    (["--gamma", "1.5"], "--gamma: expected at most 1, received 1.5."),
    (["--gamma", "nan"], "--gamma: expected at least 0, received nan."),
    (["--alpha", "0"], "alpha"),
    (["--alpha", "1"], "alpha"),
    (["--alpha", "x"], "argument --alpha: invalid float value: 'x'"),
    (["--width", "0"], "--width: expected at least 1, received 0."),
    (["--width", "10.5"], "argument --width: invalid int value: '10.5'"),
    (["--protocol", "mine"], "--protocol: invalid choice: 'mine'"),
    (["--solver", "adam"], "--solver: invalid choice: 'adam'"),
    (["--steps", "0"], "--steps: expected at least 1, received 0."),
    (["--records", "1"], "--records: expected at least 2, received 1."),
    (["--seeds", "0"], "--seeds: expected at least 1, received 0."),
    (["--seed", "-1"], "--seed: expected at least 0, received -1."),
    (["--solver", "descent", "--batch-size", "0"], "--batch-size: expected at least 1, received 0"),
    (["--out-dir=--"], "--out-dir: expected a value, received --."),
    (["--batch-size", "64"], "expected no mini-batches, received --batch-size 64"),
    (["--learning-rate", "0"], "--learning-rate: expected a positive number, received 0.0."),
    (["--learning-rate", "inf"], "--learning-rate: expected a positive number, received inf."),
    (["--rtol", "-1"], "--rtol: expected a positive number, received -1.0."),
    (["--atol", "nan"], "--atol: expected a positive number, received nan."),
    (["--target-risk", "nan"], "--target-risk: expected a number, received nan."),
    (["--pairs", "1:0.4;0:0.4"], "--pairs: expected 'all' or gamma:alpha separated by commas"),
    (["--pairs", "1:0.4:2"], "--pairs: expected 'all' or gamma:alpha separated by commas"),
    (["--pairs", "some"], "received 'some'"),
    (["--pairs", "0:0.4,0:2"], "alpha"),
    (["--ntg-examples", "few"], "--ntg-examples: expected a nonnegative number or 'all', received"),
    (
        ["--ntg-examples=-3"],
        "--ntg-examples: expected a nonnegative number or 'all', received '-3'",
    ),
    (["--ntg-method", "guess"], "--ntg-method: invalid choice: 'guess'"),
    (["--device", "tpu"], "--device: invalid choice: 'tpu'"),
    (["--dtype", "float16"], "--dtype: invalid choice: 'float16'"),
    (["--resume", "--overwrite"], "expected --resume or --overwrite, received both."),
    (["--source", "web"], "--source: invalid choice: 'web'"),
    (["--dataset", "cifar10"], "--dataset cifar10: expected 'mnist' for --source bundled"),
    (["--data", NOT_THERE], f"--data: expected an .npz file, received no such file: {NOT_THERE}."),
    (["--data", __file__, "--source", "tfds"], "--data FILE.npz, or --source and --dataset"),
    (["--step", "5"], "unrecognized arguments: --step 5"),  # no abbreviations
    (["extra"], "unrecognized arguments: extra"),
]


def python(script, *argv):
    command = [sys.executable, "-c", script, *argv]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_help_is_complete_and_loads_nothing_heavy():
    script = (
        "import sys\nfrom trainers.mnist import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done = python(script)
    assert done.returncode == 0
    assert not set(HEAVY) & set(done.stderr.split())
    assert "trainers.mnist" in done.stderr.split()
    for flag in vars(parse()):
        assert f"--{flag.replace('_', '-')}" in done.stdout
    assert "python -m trainers.mnist --gamma 0" in done.stdout
    assert "(default: 200000)" in done.stdout
    seed = done.stdout.split("\n  --seed SEED")[1].split("\n  --")[0]
    assert "(default: 0)" in seed


@pytest.mark.parametrize(("argv", "message"), BAD_FLAGS, ids=[" ".join(a) for a, _ in BAD_FLAGS])
def test_bad_flag_is_told_with_exit_code_2(argv, message, capsys, monkeypatch):
    monkeypatch.setattr(mnist.Config, "load", lambda self: pytest.fail("loaded"))
    with pytest.raises(SystemExit) as caught:
        mnist.main(argv)
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert shown.err.startswith("usage: python -m trainers.mnist")
    assert shown.out == ""


def test_bad_flags_are_told_before_tensorflow_is_loaded():
    script = (
        "import ast, sys\nfrom trainers.mnist import main\n"
        "for argv in ast.literal_eval(sys.argv[1]):\n"
        "    try:\n        main(argv)\n"
        "    except SystemExit as error:\n        print(error.code)\n"
        "print('tensorflow' in sys.modules or 'keras' in sys.modules)\n"
    )
    done = python(script, repr([argv for argv, _ in BAD_FLAGS]))
    assert done.stdout.split() == ["2"] * len(BAD_FLAGS) + ["False"]


def test_home_folder_in_flags(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse("--out-dir=~/runs/a").out_dir == str(tmp_path / "runs" / "a")
    (tmp_path / "digits.npz").touch()
    assert parse("--data=~/digits.npz").data == str(tmp_path / "digits.npz")
    with pytest.raises(SystemExit):
        parse("--out-dir=~no-one/a")
    assert "--out-dir: expected a path, received '~no-one/a'" in capsys.readouterr().err


def test_flags_become_typed_settings():
    config = parse("--width", "30", "--alpha", "0.5", "--seeds", "3", "--resume", "--steps", "7")
    assert (config.width, config.alpha, config.seeds, config.resume) == (30, 0.5, 3, True)
    assert (config.steps, config.overwrite, config.batch_size) == (7, False, None)
    assert config.run_seeds() == [0, 1, 2]
    assert parse("--seed", "4").run_seeds() == [4]


def test_pairs_are_those_of_the_protocol_or_as_listed():
    assert parse("--gamma", "0.3").scaling_pairs() == [(0.3, 0.4)]
    assert parse("--pairs", "1:0.4,0:0.3").scaling_pairs() == [(1.0, 0.4), (0.0, 0.3)]
    common = {(1.0, 0.4), (0.5, 0.7), (0.0, 0.4)}
    for protocol, third in (("paper", (0.5, 0.5)), ("authors", (0.2, 0.5))):
        pairs = parse("--pairs", "all", "--protocol", protocol).scaling_pairs()
        assert len(pairs) == 4
        assert set(pairs) == common | {third}


@pytest.mark.parametrize(
    ("argv", "counts"),
    [
        ([], (500, 20)),
        (["--protocol", "authors"], (50, 20)),
        (["--ntg-examples", "all"], (5000, 20)),
        (["--ntg-examples", "70"], (70, 20)),
        (["--ntg-examples", "0"], (0, 0)),
    ],
)
def test_ntg_examples_are_those_of_the_protocol_or_as_asked(argv, counts):
    config = parse(*argv)
    assert (config.ntg_count(5000), config.ntg_count(20)) == counts


def run_body(body, *argv):
    return cli.run_main(mnist.Config, body, argv, module="trainers.mnist", description=None)


def failing(error):
    def body(config, command):
        raise error

    return body


@pytest.mark.parametrize(
    "error",
    [
        *(kind("what went wrong") for kind in (ImportError, OSError, TypeError, ValueError)),
        TrainingError("what went wrong"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_error_is_a_message_and_exit_code_1(error, capsys):
    with pytest.raises(SystemExit) as caught:
        run_body(failing(error))
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: what went wrong\n"
    with pytest.raises(type(error), match="what went wrong"):
        run_body(failing(error), "--debug")


def test_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        run_body(failing(ZeroDivisionError()))


def test_body_gets_the_configuration_and_its_result_is_returned():
    received = run_body(lambda *both: both, "--width", "7", "--out-dir", "a b")
    assert received == (
        parse("--width", "7", "--out-dir", "a b"),
        "python -m trainers.mnist --width 7 --out-dir 'a b'",
    )


@pytest.mark.parametrize(
    ("argv", "command"),
    [
        ([], "python -m trainers.mnist --resume"),
        (["--width", "7", "--resume"], "python -m trainers.mnist --width 7 --resume"),
        (["--overwrite", "--steps", "9"], "python -m trainers.mnist --steps 9 --resume"),
        (["--out-dir", "my run"], "python -m trainers.mnist --out-dir 'my run' --resume"),
    ],
)
def test_interrupt_shows_the_command_that_goes_on(argv, command, capsys):
    with pytest.raises(SystemExit) as caught:
        run_body(failing(KeyboardInterrupt()), *argv)
    assert caught.value.code == 130
    assert capsys.readouterr().err == f"\ninterrupted; go on with:\n  {command}\n"


def test_sigterm_is_like_an_interrupt(capsys):
    with pytest.raises(SystemExit) as caught:
        run_body(lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert caught.value.code == 130
    assert "go on with" in capsys.readouterr().err
