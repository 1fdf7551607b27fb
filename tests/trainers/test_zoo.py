"""The zoo's program: which runs, chosen by which rows, packaged under which names."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from trainer_runs import read_json

import asym_keras as ak
from asym_keras import datasets
from serving import package
from trainers import regression, zoo
from trainers.common import cli
from trainers.common.config import PAIRS
from trainers.common.tasks import TASKS
from trainers.zoo import choice as zoo_choice
from trainers.zoo import making
from trainers.zoo import runs as zoo_runs
from trainers.zoo.config import PRESETS

QUICK = ("--width", "30", "--steps", "20", "--keep", "3,6", "--quiet", "--no-export")


def parse(*argv):
    return cli.parse_config(zoo.Config, argv, module=zoo.MODULE, description=None)


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setattr("asym_keras.plotting.learning_curves", lambda folder, **_: [])


@pytest.fixture
def places(tmp_path):
    return ["--runs", str(tmp_path / "runs"), "--presets-dir", str(tmp_path / "presets")]


@pytest.fixture
def in_process(monkeypatch):
    """Runs `serving.package` here, and notes what other programs would be run."""
    calls = []

    def run(module, flags, config):
        calls.append((module, flags))
        if module == "serving.package":
            package.main(flags)
        return "model_config_list { }\n"

    monkeypatch.setattr(making, "_run", run)
    return calls


def features_file(path, rows=43):
    generator = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", rows), ("test", 12)):
        arrays[f"x_{part}"] = generator.normal(size=(n, 5)).astype("float16")
        arrays[f"y_{part}"] = np.arange(n) % 10
    np.savez(path, **arrays)
    return str(path)


def test_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom trainers.zoo import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert not {"numpy", "tensorflow", "keras", "scipy"} & set(done.stderr.split())
    assert "python -m trainers.zoo --tasks simulated,concrete --dry-run" in done.stdout


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--tasks", "simulated,digits"], "--tasks: expected some of simulated,concrete,"),
        (["--keep", "20,many"], "--keep: expected whole numbers such as 20,50,100"),
        (["--keep", "0"], "--keep: expected numbers from 1 to 2000, received 0"),
        (["--keep", "51", "--width", "50", "--presets-dir", "p"], "numbers from 1 to 50"),
        (["--jobs", "0"], "--jobs: expected at least 1"),
        (["--features", "none.npz"], "--features: expected a file, received no such file"),
        (["--steps", "9"], "--steps: expected --presets-dir with it"),
        (["--width", "200"], "--width: expected --presets-dir with it"),
    ],
)
def test_bad_flags_are_told(argv, message, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*argv)
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_presets_are_the_packages_and_have_names_of_their_own():
    assert (Path(ak.__file__).parent / "presets").resolve() == PRESETS
    names = set()
    for gamma, alpha in PAIRS["paper"]:
        choice = zoo_choice.Choice(Path("run"), gamma, alpha, 50, True, 1.0, None)
        names.add(making._preset_name("mnist", choice))
    assert names == {
        *("mnist_gamma0_k50", "mnist_gamma1_k50"),
        *("mnist_gamma0.5_alpha0.5_k50", "mnist_gamma0.5_alpha0.7_k50"),
    }


@pytest.mark.parametrize("task", TASKS)
def test_runs_are_the_protocols_pairs(task, tmp_path, places):
    features = features_file(tmp_path / "f.npz")
    experiment = zoo_runs.experiment(task, parse("--features", features, *places))
    config = experiment.config
    assert config.task() == task
    assert config.scaling_pairs() == list(PAIRS["paper"])
    assert (config.protocol, config.run_seeds(), config.resume) == ("paper", [0], True)
    assert (config.width, config.transfer, config.overwrite) == (2000, False, False)
    paths = [path for [path] in experiment.pairs()]
    assert experiment.missing() == paths
    assert len(set(paths)) == 4
    if task == "cifar10":
        assert (config.train_examples, config.epochs) == (39, 100)
        assert paths[0].parent.name != "cifar10"  # where runs on all rows are
    else:
        assert paths[0].parent == tmp_path / "runs" / task  # as trainers.figures has them


def rows_of(*arrays):
    return {row.tobytes() for array in arrays for row in array}


def test_held_out_rows_are_neither_trained_nor_tested_on(tmp_path, places):
    features = features_file(tmp_path / "f.npz")
    values = np.random.default_rng(1).normal(size=(40, 3))
    np.savetxt(tmp_path / "t.csv", values, delimiter=",", header="a,b,y", comments="")
    table = regression.Config(data=str(tmp_path / "t.csv"), target="y")
    settings = parse("--features", features, *places)
    for task, size in (("concrete", 16), ("mnist", 10_000), ("simulated", 1000), ("cifar10", 4)):
        config = zoo_runs.experiment(task, settings).config if task != "concrete" else table
        data = config.load()
        held_out = config.held_out(data)
        assert held_out.x.shape == (size, data.input_dim)
        assert held_out.y.shape == (size, data.outputs)
        assert not rows_of(held_out.x) & rows_of(data.x_train)
        if task != "mnist":  # which repeats itself
            assert not rows_of(held_out.x) & rows_of(data.x_test)
        if data.is_classification:
            np.testing.assert_array_equal(held_out.y.argmax(1), held_out.labels)
    with pytest.raises(ValueError, match="expected simulated with a part for transfer"):
        table.held_out(datasets.load_simulated(examples=2))


@pytest.mark.slow
def test_zoo_of_a_task(places, tmp_path, in_process, capsys, monkeypatch):
    monkeypatch.setitem(PAIRS, "paper", ((1.0, 0.4), (0.0, 0.4)))
    argv = ["--tasks", "simulated", *QUICK, *places]
    made = zoo.main(argv)
    printed = capsys.readouterr().out.splitlines()
    assert [path.stem.rsplit("_", 1)[1] for path in made] == ["k3", "k6"]
    # By hand: every pair, with and without refit, on another draw of the same law.
    data, fresh = (datasets.load_simulated(seed=s, test_examples=1000) for s in (0, 1))
    for keep, path in zip((3, 6), made, strict=True):
        risks = {}
        for run in map(ak.load_run, sorted((tmp_path / "runs" / "simulated").iterdir())):
            for refit in (None, (data.x_train, data.y_train)):
                f = ak.prune(run.load_model(), keep, refit=refit)(fresh.x_test).numpy()
                pair = run.config["gamma"], run.config["alpha"], refit is not None
                risks[pair] = np.mean((f.astype("float64") - fresh.y_test) ** 2)
        assert len(risks) == 4
        best = min(risks, key=risks.get)
        card = read_json(path.with_suffix(".json"))
        assert (card["gamma"], card["alpha"], card["refit"], card["kept"]) == (*best, keep)
        assert card["name"] == path.stem
        [line] = [line.split() for line in printed if line.startswith(f"{path.stem} ")]
        assert float(line[5]) == pytest.approx(risks[best], rel=1e-3)
        assert line[6:] == [
            f"{card['metrics'][kind]['test_risk']:.4g}" if kind in card["metrics"] else "-"
            for kind in ("full", "pruned", "refit")
        ]
        assert keras.models.load_model(path).input_shape == (None, 50)

    # Again: runs are taken as they are; a preset of another pair is replaced; SavedModels follow.
    runs = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/*/model.keras")}
    for suffix in ("keras", "json"):
        (made[0].parent / f"simulated_gamma7_k3.{suffix}").touch()
        (made[0].parent / f"simulated_gamma7_k33.{suffix}").touch()
    in_process.clear()
    export = [flag for flag in argv if flag != "--no-export"]
    served = tmp_path / "served"
    served.mkdir()
    assert zoo.main([*export, "--keep", "3", "--saved-models", str(served)]) == made[:1]
    assert {path: path.stat().st_mtime_ns for path in runs} == runs
    names = {path.name for path in made[0].parent.iterdir()}
    assert names == {
        *(f"{path.stem}{suffix}" for path in made for suffix in (".keras", ".json")),
        *("simulated_gamma7_k33.keras", "simulated_gamma7_k33.json"),
    }
    exports = [flags for module, flags in in_process if module == "serving.export"]
    assert exports == [[str(made[0]), "--to", str(served)]]
    configured = [flags for module, flags in in_process if module == "serving.model_config"]
    assert configured == [["--models", str(served), "--mount", "/models"]]
    assert (served / "models.config").read_text() == "model_config_list { }\n"


def test_presets_of_the_package_are_exported_by_name(in_process):
    making._export(PRESETS / "mnist_gamma0.5_alpha0.7_k20.keras", parse())
    assert in_process == [
        ("serving.export", ["mnist_gamma0.5_alpha0.7_k20", "--to", "saved_models"])
    ]


def test_classes_are_chosen_by_accuracy_then_risk():
    choice = zoo_choice.Choice(Path("run"), 0.0, 0.4, 50, False, 1.0, 0.5)
    for better in ({"accuracy": 0.6, "risk": 2.0}, {"risk": 0.9, "refit": True}):
        assert dataclasses.replace(choice, **better).rank < choice.rank
    assert choice.rank < dataclasses.replace(choice, refit=True).rank


def test_a_task_without_data_is_told_and_the_others_go_on(places, tmp_path, capsys, monkeypatch):
    task, made = making._task, []

    def noted(name, config):
        made.append(name)
        return [] if name == "mnist" else task(name, config)

    monkeypatch.setattr(making, "_task", noted)
    monkeypatch.setenv("ASYM_KERAS_DATA_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(SystemExit) as caught:
        zoo.main(["--tasks", "cifar10,plant,mnist", *QUICK, *places])
    assert caught.value.code == 1
    assert made == ["cifar10", "plant", "mnist"]
    assert capsys.readouterr().err.endswith("error: tasks that failed: cifar10, plant\n")


def test_dry_run_lists_what_is_missing(places, tmp_path, capsys):
    assert zoo.main(["--tasks", "plant", "--dry-run", *places]) == []
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "plant: 4 of 4 runs missing"
    assert printed[1].startswith("  python -m trainers.regression --pairs all --out-dir ")
    assert printed[-1].endswith("plant-paper-g0-a0.4-m2000-flow-s0")
    assert not (tmp_path / "runs").exists()


def test_failure_of_a_program_is_told_by_its_last_line():
    with pytest.raises(
        RuntimeError, match=r"serving\.nothing x: .* status 0, received 1: .*No mod"
    ):
        making._run("serving.nothing", ["x"], parse())
