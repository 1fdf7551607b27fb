"""What a sweep leaves: the table of its trials, the best one, and the best by nodes kept."""

from __future__ import annotations

from typing import Any

import asym_keras as ak
from asym_keras.tables import Table
from trainers.common import environment
from trainers.common.config import PAIRS
from trainers.common.curves import measured, test_rows, write_curves
from trainers.common.folder import RunFolder
from trainers.sweep import pictures
from trainers.sweep.config import Config
from trainers.sweep.curves import envelope, points, ranked
from trainers.sweep.folder import SweepFolder
from trainers.sweep.trial import trial_config

TRIALS, BEST, PARETO = "trials.csv", "best.json", "pareto.csv"
VALUES = ("gamma", "alpha", "width", "steps")


def write(config: Config, folder: SweepFolder) -> dict | None:
    """Writes all results; measures the best trial and the paper's pairs on the test rows, once.

    Returns:
        The content of `best.json`; None where no trial was completed.
    """
    write_trials(config, folder)
    best = best_record(config, folder.records())
    if best is None:
        return None
    content = _best(config, folder, best)
    folder.write(BEST, content)
    if config.pareto:
        write_pareto(config, folder)
    pictures.draw(config, folder)
    for name in ("trial", *VALUES, "objective", "value", *content["test"], "folder"):
        number = {**content, **content["test"]}[name]
        print(f"{name:<28}{number:.5g}" if isinstance(number, float) else f"{name:<28}{number}")
    judged = config.measure().replace("val_", "test_")
    for pair in content["paper_pairs"]:
        name = f"paper {pair['gamma']:g}, {pair['alpha']:g}"
        print(f"{name:<28}{judged} {pair['test'][judged]:.5g}")
    return content


def best_record(config: Config, records: list[dict]) -> dict | None:
    """The completed trial with the best number, the first of equal ones."""
    return next(iter(ranked(config, records)), None)


def write_trials(config: Config, folder: SweepFolder) -> None:
    """Writes `trials.csv`: one row for each trial that has ended."""
    records = folder.records()
    names = dict.fromkeys(name for record in records for name in record["metrics"])
    rows = [
        {
            "trial": record["trial"],
            "status": record["status"],
            **record["values"],
            "objective": record["metrics"].get(config.measure(), ""),
            **{name: record["metrics"].get(name, "") for name in names},
            "seconds": record["seconds"],
            "overhead_seconds": record["overhead_seconds"],
            "error": next(iter((record["error"] or "").splitlines()), ""),
        }
        for record in records
    ]
    if rows:
        Table(rows).to_csv(folder.path / TRIALS)


def _best(config: Config, folder: SweepFolder, record: dict) -> dict[str, Any]:
    """What `best.json` says, with numbers of the test rows; completes the trial's run folder."""
    run = RunFolder(folder.run_path(record["trial"]))
    of = trial_config(config, record["values"], run.path)
    environment.prepare_device(config.device)  # before any data is loaded
    dataset = of.load()
    write_curves(of, dataset, run)
    test = _test_numbers(config, folder, record, dataset)
    whole = {name: test[name] for name in ("test_risk", "test_accuracy") if name in test}
    run.write("metrics.json", {**run.read("metrics.json"), **whole})
    records = folder.records()
    statuses = [other["status"] for other in records]
    return {
        "trial": record["trial"],
        "folder": str(run.path),
        **record["values"],
        "keep": config.keep,
        "objective": config.measure(),
        "value": record["metrics"][config.measure()],
        "validation": {k: v for k, v in record["metrics"].items() if k.startswith("val_")},
        "test": test,
        "paper_pairs": [
            {
                "trial": other["trial"],
                **other["values"],
                "value": other["metrics"][config.measure()],
                "test": _test_numbers(config, folder, other, dataset),
            }
            for other in _paper_pairs(config, records)
        ],
        "trials": {name: statuses.count(name) for name in sorted(set(statuses))},
    }


def _paper_pairs(config: Config, records: list[dict]) -> list[dict]:
    """The first trials of `--paper-first`, with which the best one is compared."""
    pairs = PAIRS[config.protocol] if config.paper_first else ()
    first = records[: len(pairs)]
    return [record for record in first if record["status"] == "completed"]


def _test_numbers(config: Config, folder: SweepFolder, record: dict, dataset) -> dict[str, float]:
    """Test risk and accuracy of the pruned network, as it is and refitted, and of the whole one."""
    path = folder.run_path(record["trial"])
    of = trial_config(config, record["values"], path)
    rows = test_rows(dataset)
    model = ak.load_run(path).load_model()
    pruned = [of.width - config.keep]
    [row] = measured(of, model, dataset, rows, pruned=pruned, refit=True)
    [whole] = measured(of, model, dataset, rows, pruned=[0])
    return {
        f"{kind}{end}": numbers[f"{kind}{source}"]
        for kind in ("test_accuracy", "test_risk")
        if kind in row
        for end, source, numbers in (
            ("_pruned", "", row),
            ("_pruned_refit", "_refit", row),
            ("", "", whole),
        )
    }


def write_pareto(config: Config, folder: SweepFolder) -> list[dict]:
    """Writes `pareto.csv`: the best trial for each number of nodes, unless fewer do as well."""
    rows = envelope(points(config, folder), larger_is_better=config.larger_is_better())
    if rows:
        Table(rows).to_csv(folder.path / PARETO)
    return rows
