"""`--activation` and `--law`: what they make, what is refused, and what a folder keeps of them."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
from synthetic_runs import write_run

import asym_keras as ak
from asym_keras.graphs import is_elementwise
from trainers import compare, simulated, sweep, theory
from trainers.common import batch, experiment, network
from trainers.common.cli import parse_config, to_flags
from trainers.common.config import settings_of

SMALL = ("--width", "12", "--examples", "10", "--input-dim", "4", "--steps", "20", "--records", "3")


def parse(*argv, of=simulated):
    return parse_config(of.Config, argv, module=of.MODULE, description=None)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text("weight\n" + "\n".join(str(12 - j) for j in range(12)) + "\n")
    return path


def test_activations_are_the_elementwise_ones_of_keras():
    found = set()
    for name, function in vars(keras.activations).items():
        if not name.startswith("_") and callable(function) and "serialize" not in name:
            try:
                if is_elementwise(function, 8):
                    found.add(name)
            except (TypeError, ValueError):  # wants more arguments, or an even number of values
                continue
    assert found - {"get"} == {*network.ACTIVATIONS}


def test_flow_takes_every_activation_but_those_that_jump():
    z = np.linspace(-4.0, 4.0, 80_001)
    for name in network.ACTIVATIONS:
        values = np.asarray(keras.activations.get(name)(z))
        assert (np.abs(np.diff(values)).max() > 0.1) == (name in network.JUMPING), name


@pytest.mark.parametrize(
    ("law", "expected"),
    [
        ("geometric", ak.scaling.geometric_weights(12, 0.4)),
        ("finite:3", np.array([1.0] * 3 + [0.0] * 9)),
        ("file:{weights}", np.arange(12.0, 0.0, -1.0)),
    ],
)
def test_network_of_a_law_has_its_scalings(law, expected, weights):
    config = parse(*SMALL, "--law", law.format(weights=weights), "--gamma", "0.25")
    model = experiment.network(config, config.load())
    scalings = model.get_layer("asym_scaled_dense").scalings
    np.testing.assert_allclose(scalings, 0.25 / 12 + 0.75 * expected / expected.sum(), rtol=1e-6)


def test_network_without_the_flags_is_the_layers_own():
    config = parse(*SMALL, "--gamma", "0.5")
    layer = experiment.network(config, config.load()).get_layer("asym_scaled_dense")
    assert layer.get_config()["scalings"] is None
    assert layer.activation is keras.activations.relu
    kept = settings_of(config)
    assert not {"activation", "law", "record_spacing", "format"} & kept.keys()
    assert settings_of(parse(*SMALL, "--law", "geometric"))["law"] == "geometric"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--activation", "softmax"], r"elementwise activation of Keras .* received 'softmax'"),
        (["--activation", "tahn"], "did you mean tanh"),
        (["--activation", "hard_shrink"], "received one that jumps. Use --solver descent"),
        (["--law", "cauchy"], r"expected zipf, geometric, finite:K or .* received 'cauchy'"),
        (["--law", "finite:0"], "received 'finite:0'"),
        (["--law", "finite:13"], "--law finite:13: .*at most width = 12, received 13"),
        (["--law", "file:none.csv"], "no such file: none.csv"),
        (["--law", "file:{weights}", "--width", "13"], "expected 13 weights.*received 12"),
        (["--law", "finite:3", "--pairs", "0:0.4,0:0.5"], "different gammas, since --law finite:3"),
        (["--pairs", "0:0.4,1:0.4,0:0.4000001"], "expected different pairs, received 0:0.4,1"),
    ],
)
def test_bad_values_are_refused_before_anything_is_loaded(flags, message, weights, capsys):
    flags = [flag.format(weights=weights) for flag in flags]
    with pytest.raises(SystemExit):
        parse(*SMALL, *flags)
    assert __import__("re").search(message, capsys.readouterr().err)


def test_a_weights_file_is_known_by_its_content(weights, capsys):
    config = parse(*SMALL, "--law", f"file:{weights}")
    flags = to_flags(config)
    assert parse(*flags) == config
    weights.write_text(weights.read_text().replace("12", "13"))
    with pytest.raises(SystemExit):
        parse(*flags)
    assert "expected the weights of file:" in capsys.readouterr().err
    assert parse(*SMALL, "--law", f"file:{weights}") != config
    weights.write_text("1\ntwo\n3\n")
    with pytest.raises(SystemExit):
        parse("--width", "3", "--law", f"file:{weights}")
    assert "received 'two' in line 2" in capsys.readouterr().err


def test_folders_of_other_networks_have_other_names(weights):
    names = [
        batch.run_paths(parse(*SMALL, *flags))[0].name
        for flags in ([], ["--activation", "tanh"], ["--law", "finite:3"])
    ]
    assert names == [
        "simulated-paper-g0-a0.4-m12-flow-s0",
        "simulated-paper-g0-a0.4-m12-flow-tanh-s0",
        "simulated-paper-g0-a0.4-m12-flow-finite3-s0",
    ]
    [path] = batch.run_paths(parse(*SMALL, "--law", f"file:{weights}"))
    assert path.name.startswith("simulated-paper-g0-a0.4-m12-flow-weights-")


@pytest.mark.slow
def test_run_of_another_network_goes_through_history_ntg_and_compare(tmp_path, capsys):
    flags = ["--activation", "tanh", "--law", "geometric", "--gamma", "0.5", "--quiet"]
    [metrics] = simulated.main([*SMALL, *flags, "--out-dir", str(tmp_path / "tanh")])
    run = ak.load_run(tmp_path / "tanh")
    assert (run.config["activation"], run.config["law"]) == ("tanh", "geometric")
    assert run.label == "gamma = 0.5, alpha = 0.4, law = geometric"
    data = parse(*SMALL).load()
    ntg = ak.empirical_ntg(run.load_model(), data.x_train, method="jacobian").numpy()
    assert metrics["ntg_min_eigenvalue"] == pytest.approx(np.linalg.eigvalsh(ntg)[0], rel=1e-3)
    write_run(tmp_path / "relu", gamma=0.5)
    capsys.readouterr()
    assert compare.main([str(tmp_path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    place = rows[0].index("activation")
    assert {row[place] for row in rows[1:3]} == {"tanh", "relu"}


def test_resuming_with_another_activation_is_refused_also_of_a_folder_from_before(tmp_path):
    from trainer_runs import parse as parse_mnist
    from trainer_runs import write_run as write_opened

    folder = write_opened(tmp_path / "run", "--resume")
    assert "activation" not in json.loads((tmp_path / "run" / "config.json").read_text())["config"]
    folder.check(parse_mnist("--resume"))
    with pytest.raises(ValueError, match=r"activation \('relu' there, 'tanh' here\)"):
        folder.check(parse_mnist("--resume", "--activation", "tanh"))


def test_sweeps_pass_both_on(weights, tmp_path):
    from trainers.sweep.trial import trial_config

    config = parse("--task", "simulated", "--activation", "tanh", "--law", "geometric", of=sweep)
    trial = trial_config(config, {"gamma": 0.2, "alpha": 0.3}, tmp_path)
    assert (trial.activation, trial.law) == ("tanh", "geometric")
    assert parse(*to_flags(config), of=sweep) == config
    for flags, message in (
        (["--law", "finite:3"], "Add --alphas 0.5:0.5"),
        (["--law", "finite:300", "--widths", "200:400", "--alphas", "0.5:0.5"], "at most width"),
    ):
        with pytest.raises(ValueError, match=message):
            sweep.Config(**dict(zip(map(_field, flags[::2]), flags[1::2], strict=True)))


def _field(flag):
    return flag.removeprefix("--")


def test_theory_takes_a_law_and_names_the_folder_by_it():
    config = parse("--law", "finite:3", "--gamma", "0", "--width", "6", of=theory)
    np.testing.assert_allclose(config.scalings(), [1 / 3] * 3 + [0.0] * 3)
    assert config.path().name == "theory-simulated-g0-a0.4-m6-finite3-s0"


@pytest.mark.slow
def test_theory_of_a_law_has_its_symmetric_part_and_its_variance(tmp_path):
    flags = ["--law", "finite:4", "--gamma", "0.5", "--width", "40", "--examples", "8"]
    flags += ["--steps", "20", "--draws", "200", "--quiet", "--out-dir", str(tmp_path / "run")]
    content = theory.main(flags)
    run = ak.load_run(tmp_path / "run")
    layer = first_layer(run, seed=0)
    x = parse(*flags, of=theory).load().x_train.astype("float64")
    x /= np.linalg.norm(x, axis=1).max()
    slopes = (x @ layer.kernel.numpy() > 0).astype("float64")
    symmetric = 0.5 / 40 * (slopes @ slopes.T) * (x @ x.T) / x.shape[1]
    measured = {row["quantity"]: row["measured"] for row in content["rows"]}
    least = next(value for name, value in measured.items() if name.startswith("C.1"))
    assert least == pytest.approx(np.linalg.eigvalsh(symmetric)[0], rel=1e-9)
    variance = next(row for row in content["rows"] if row["quantity"].startswith("Eq. (12)"))
    assert variance["measured"] == pytest.approx(variance["theory"], rel=0.15)


def first_layer(run, *, seed):
    """The layer of a theory run before it was trained."""
    names = ("width", "gamma", "alpha", "dtype")
    options = {name: run.config[name] for name in names}
    return ak.shallow_network(50, seed=seed, **options).get_layer("asym_scaled_dense")
