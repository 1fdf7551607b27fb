"""Tables of runs, means over seeds, and the comparison with published curves."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest
from synthetic_runs import height, write_json, write_run

from trainers import compare
from trainers.common.published import PublishedCurves
from trainers.compare import comparison

PAIRS = ((1.0, 0.4), (0.5, 0.7), (0.2, 0.5), (0.0, 0.4))
LABELS = ("gamma=1.0", "alpha=0.7, gamma=0.5", "alpha=0.5, gamma=0.2", "alpha=0.4, gamma=0.0")
AUTHORS = {"protocol": "authors", "width": 2000}


def line(printed, name):
    """Cells of the line that begins with `name`, split where there are two blanks."""
    (found,) = [li for li in printed.splitlines() if li.strip().startswith(name)]
    return [cell for cell in found.strip().split("  ") if cell]


def reference_of(path, values, *, task="simulated"):
    """Published curves: `{quantity: (x, y, std)}`, the same for all pairs."""
    content = {
        task: {
            name: {"series": {label: {"x": x, "y": y, "std": std} for label in LABELS}}
            for name, (x, y, std) in values.items()
        }
    }
    write_json(path, content)
    return str(path)


def rows(printed):
    cells = [li.strip("| ").split(" | ") for li in printed.splitlines() if li.startswith("|")]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


def test_table_has_settings_that_differ_and_how_each_ended(tmp_path, capsys):
    write_run(tmp_path / "a", seed=1, out_dir="x")
    write_run(tmp_path / "b", gamma=0.5, alpha=0.7, width=40, noise=0.5)
    assert (
        compare.main([str(tmp_path / "a"), str(tmp_path / "b"), "--csv", f"{tmp_path}/t.csv"]) == 0
    )
    head, b, a = csv.reader((tmp_path / "t.csv").read_text().splitlines())
    assert head[:5] == ["gamma", "alpha", "seed", "width", "noise"]
    a, b = (dict(zip(head, row, strict=True)) for row in (a, b))
    assert (a["gamma"], a["seed"], a["width"], a["noise"]) == ("0.0", "1", "20", "")
    assert (b["gamma"], b["alpha"], b["width"], b["noise"]) == ("0.5", "0.7", "40", "0.5")
    assert b["run"] == str(tmp_path / "b")
    size = height(0.0, 1)
    expected = {
        "train_risk": size * 1e-3,
        "test_risk": 2 * size * 1e-3,
        "weight_change": 2 * size,
        "ntg_change": size**2,
        "ntg_min_eigenvalue": 0.01 * size,
        "gradients": 7.0,
        "seconds": 3.5,
        "pruned95_train_risk": size * (1 + 0.95**2),  # between two points of the curve
    }
    for name, value in expected.items():
        assert float(a[name]) == pytest.approx(value, rel=1e-12), name
    printed = capsys.readouterr().out
    assert line(printed, "gamma")[0] == "gamma"
    assert f"{size * 1e-3:.5g}" in printed
    assert "over seeds" not in printed


def test_runs_that_differ_in_seed_are_summarised(tmp_path, capsys):
    for gamma in (0.0, 1.0):
        for seed in range(3):
            write_run(tmp_path / f"{gamma}" / str(seed), gamma=gamma, seed=seed, jobs=seed + 1)
    write_run(tmp_path / "other", gamma=0.5)
    assert compare.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert line(printed, "over seeds") == ["over seeds", "gamma = 1", "gamma = 0, alpha = 0.4"]
    assert line(printed, "seeds") == ["seeds", "0,1,2", "0,1,2"]
    changes = [2 * height(1.0, seed) for seed in range(3)]
    mean, std = np.mean(changes), np.std(changes, ddof=1)
    cell = next(li for li in printed.splitlines() if li.strip().startswith("weight_change"))
    assert cell.split()[1:4] == [f"{mean:.5g}", "±", f"{std:.2g}"]


def test_unfinished_runs_are_shown_and_left_out_of_means(tmp_path, capsys):
    write_run(tmp_path / "0")
    write_run(tmp_path / "1", seed=1, finished=False)
    assert compare.main([str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert f"{tmp_path / '1'} (unfinished)" in printed
    assert "over seeds" not in printed


def test_mean_over_seeds_is_compared_with_what_was_published(tmp_path, capsys):
    sizes = [height(0.0, seed) for seed in range(3)]
    for seed in range(3):
        write_run(tmp_path / str(seed), seed=seed, **AUTHORS)
    mean = np.mean(sizes)
    x = [20.0, 50.0, 100.0]
    final = 1e-3 * mean
    reference = reference_of(
        tmp_path / "reference.json",
        {
            "trainrisk": (x, [mean * 10 ** (-3 * t / 100) for t in x], [0.0, 1.0, 1e-4]),
            # half a published deviation above ours; and the root of the spectral norm
            "ntkdiff": (x, [mean * t / 100 + 0.05 for t in x], [0.1] * 3),
            "wdiff": ([100.0], [3.0 * mean], [0.1]),
        },
    )
    arguments = [str(tmp_path), "--reference", reference]
    assert compare.main(arguments) == 0
    printed = capsys.readouterr().out
    table = rows(printed)
    at = [(row["quantity"], row["at"]) for row in table]
    assert at == [
        *(("train_risk", t) for t in ("20", "50", "100")),
        ("weight_change", "100"),
        *(("sqrt(ntg_change)", t) for t in ("20", "50", "100")),
    ]
    by = dict(zip(at, table, strict=True))
    end = by["train_risk", "100"]
    assert (end["runs"], end["deviations"], end["agrees"]) == ("3", "+0.0", "yes")
    assert end["measured"] == f"{final:.5g}"
    assert by["sqrt(ntg_change)", "50"]["deviations"] == "-0.5"
    assert by["train_risk", "20"]["deviations"] == "-"  # no published spread: within 1 %
    assert by["train_risk", "20"]["agrees"] == "yes"
    # 40 and 60 are records: step 50 lies between them, and linear interpolation is above
    middle = mean * (10**-1.2 + 10**-1.8) / 2
    assert by["train_risk", "50"]["measured"] == f"{middle:.5g}"
    off = by["weight_change", "100"]
    assert (off["deviations"], off["agrees"]) == (f"{-10 * mean:+.1f}", "no")
    assert "6 of 7 agree." in printed
    assert compare.main([*arguments, "--strict"]) == 1


@pytest.mark.parametrize(
    ("difference", "agrees"), [(0.309, True), (0.311, False), (-0.309, True), (-0.311, False)]
)
def test_three_deviations_and_one_percent_agree(difference, agrees):
    row = comparison.Comparison("t", 0, 0.4, 1, "q", 1.0, 1.0 + difference, 1.0, 0.1)
    assert row.agrees is agrees


def test_pruning_and_transfer_are_compared_at_several_points(tmp_path, capsys):
    write_run(tmp_path / "run", transfer=True, **AUTHORS)
    nodes, features = list(range(100, 2001, 100)), list(range(10, 101, 10))
    reference = reference_of(
        tmp_path / "reference.json",
        {
            "prune_trainrisk": (nodes, [2 * (1 + (k / 2000) ** 2) for k in nodes], [0.01] * 20),
            "transfer_testrisk": (features, [2 / k for k in features], [0.01] * 10),
        },
    )
    assert compare.main([str(tmp_path), "--reference", reference, "--strict"]) == 0
    at = [(row["quantity"], row["at"]) for row in rows(capsys.readouterr().out)]
    assert at == [
        *(("pruning_train_risk", k) for k in ("500", "1000", "1500", "1900")),
        *(("transfer_test_risk", k) for k in ("10", "50", "100")),
    ]


def test_refitted_pruning_stands_beside_every_level_that_is_compared(tmp_path, capsys):
    for seed in range(2):
        options = AUTHORS | {"seed": seed}
        write_run(tmp_path / "refit" / str(seed), refit=True, **options)
        write_run(tmp_path / "plain" / str(seed), gamma=1.0, **options)
    nodes = list(range(100, 2001, 100))
    reference = reference_of(
        tmp_path / "r.json",
        {"prune_trainrisk": (nodes, [1.0] * 20, [9.0] * 20), "trainrisk": ([100.0], [1], [9])},
    )
    folders = {name: str(tmp_path / name) for name in ("plain", "refit")}
    assert compare.main([*folders.values(), "--reference", reference]) == 0
    table = rows(capsys.readouterr().out)
    mean = np.mean([height(0.0, seed) for seed in range(2)])
    expected = {k: f"{mean * (1 + (k / 2000) ** 2) / 2:.5g}" for k in (500, 1000, 1500, 1900)}
    shown = {(r["gamma"], r["quantity"], int(r["at"])): r["refitted"] for r in table}
    assert shown == {
        **{(g, "train_risk", 100): "-" for g in "10"},
        **{("1", "pruning_train_risk", k): "-" for k in expected},
        **{("0", "pruning_train_risk", k): text for k, text in expected.items()},
    }
    compare.main([folders["plain"], "--reference", reference])  # no column where no run has it
    assert "refitted" not in rows(capsys.readouterr().out)[0]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"protocol": "paper"}, "protocol paper, not authors"),
        ({"width": 40}, "width 40, not 2000"),
        ({"end": 50.0, "steps": 50}, "ends at step 50, not 100"),
        ({"task": "airfoil"}, "no published curves of airfoil"),
        ({"gamma": 0.5, "alpha": 0.5}, "has no curve that was published"),
        ({"finished": False}, "no run is finished"),
    ],
)
def test_what_can_not_be_compared_is_told(tmp_path, capsys, options, reason):
    reference = reference_of(tmp_path / "r.json", {"trainrisk": ([100.0], [1.0], [0.1])})
    write_run(tmp_path / "x", **(AUTHORS | options))
    with pytest.raises(SystemExit) as exit_:
        compare.main([str(tmp_path), "--reference", reference])
    assert exit_.value.code == 2
    assert reason in capsys.readouterr().err
    write_run(tmp_path / "good", **AUTHORS)
    assert compare.main([str(tmp_path), "--reference", reference]) == 0
    printed = capsys.readouterr().out
    assert len(rows(printed)) == 1
    assert (reason in printed) == (reason != "no run is finished")


def test_published_file_has_every_pair_of_the_protocol(reference):
    from trainers.common.config import PAIRS as protocols

    published = PublishedCurves(reference)
    for task, quantities in {
        "simulated": ("train_risk", "test_risk", "weight_change", "ntg_change"),
        "energy": ("ntg_min_eigenvalue", "pruning_train_risk", "transfer_test_risk"),
        "mnist": ("test_accuracy", "pruning_test_accuracy", "transfer_train_accuracy"),
    }.items():
        for pair in protocols["authors"]:
            for quantity in quantities:
                curve = published.curve(task, quantity, *pair)
                assert len(curve.x) == len(curve.mean) == len(curve.std) >= 10
    assert not published.has_task("airfoil")
    assert published.curve("mnist", "test_accuracy", 0.5, 0.5) is None
    last = published.curve("mnist", "test_accuracy", 0.0, 0.4)
    assert (last.x[-1], round(last.mean[-1], 3)) == (200_000, 0.760)


def test_figure_draws_each_group_and_the_published_curves(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    figures = []
    original = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *a, **k: (figures.append(self), original(self, *a, **k))
    )
    for gamma, alpha in PAIRS:
        for seed in range(2):
            options = AUTHORS | {"gamma": gamma, "alpha": alpha, "seed": seed}
            write_run(tmp_path / "runs" / f"{gamma}-{seed}", **options)
    reference = reference_of(tmp_path / "r.json", {"trainrisk": ([0.0, 100.0], [1, 0.5], [0, 0])})
    path = tmp_path / "runs.png"
    compare.main([f"{tmp_path}/runs", "--figure", str(path), "--reference", reference])
    assert path.stat().st_size > 10_000
    axes = figures[0].axes
    assert [len(axis.lines) for axis in axes[:2]] == [8, 4]
    legends = figures[0].legends or [axis.get_legend() for axis in axes if axis.get_legend()]
    names = [text.get_text() for text in legends[0].get_texts()]
    assert names[0] == r"$\gamma$ = 1"
    assert names[3:] == [r"$\gamma$ = 0, $\alpha$ = 0.4", "± one standard deviation", "published"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nowhere"], "no such folder: nowhere"),
        (["{}", "--strict"], "--strict: expected --reference"),
        (["{}", "--reference", "{}/run/config.json"], "expected a file of published curves"),
        (["{}", "--reference", "{}/none.json"], "none.json"),
        (["{}", "--csv", "{}/none/t.csv"], "none"),
    ],
)
def test_errors_end_with_a_message(tmp_path, capsys, argv, message):
    write_run(tmp_path / "run")
    with pytest.raises(SystemExit) as exit_:
        compare.main([part.format(tmp_path) for part in argv])
    assert exit_.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error


def test_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom trainers.{0} import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    for name, flag in (("compare", "--strict"), ("figures", "--dry-run")):
        done = subprocess.run(
            [sys.executable, "-c", script.format(name)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0
        assert flag in done.stdout
        assert not {"tensorflow", "keras", "matplotlib", "numpy"} & set(done.stderr.split())
