"""Makes presets: trains what is missing, chooses, packages and exports."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from asym_keras.files import write_text
from trainers.common import environment
from trainers.common.config import PAIRS
from trainers.common.tables import fitted
from trainers.zoo.choice import Choice, choose
from trainers.zoo.config import PRESETS, Config
from trainers.zoo.runs import experiment

logger = logging.getLogger("trainers")


def make(config: Config, command: str) -> list[Path]:
    """Makes each task's presets, or lists its runs; exits with status 1 if a task failed."""
    if not config.dry_run:
        # This comes before any network is loaded, and lets the GPU's memory grow: the programs of
        # `serving` need a part of it.
        environment.prepare_device(config.device)
    made: list[tuple[Choice, Path]] = []
    failed: list[str] = []
    for name in config.names():
        try:
            if config.dry_run:
                _list_missing(name, config)
            else:
                made += _task(name, config)
        except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
            logger.error("%s: %s", name, error, exc_info=config.debug)
            failed.append(name)
    if made and not config.no_export:
        # The Docker image serves every model of the folder by its models.config.
        folder = Path(config.saved_models)
        flags = ["--models", str(folder), "--mount", "/models"]
        write_text(folder / "models.config", _run("serving.model_config", flags, config))
    if made:
        print(_table(made))
    if failed:
        print(f"error: tasks that failed: {', '.join(failed)}", file=sys.stderr)
        sys.exit(1)
    return [path for _, path in made]


def _list_missing(name: str, config: Config) -> None:
    runs = experiment(name, config)
    missing = runs.missing()
    print(f"{name}: {len(missing)} of {len(runs.pairs())} runs missing")
    if missing:
        print(f"  {runs.text()}")
        print("\n".join(f"  {path}" for path in missing))


def _task(name: str, config: Config) -> list[tuple[Choice, Path]]:
    """Trains what is missing, chooses, packages, exports."""
    runs = experiment(name, config)
    if runs.missing():
        runs.run()
    made = []
    for choice in choose(runs, config.keeps()):
        path = _package(choice, _preset_name(name, choice), config)
        _remove_superseded(name, choice, path)
        if not config.no_export:
            _export(path, config)
        made.append((choice, path))
    return made


def _preset_name(task: str, choice: Choice) -> str:
    """A preset's name, with alpha where the protocol has several for this gamma."""
    alphas = {alpha for gamma, alpha in PAIRS["paper"] if gamma == choice.gamma}
    alpha = f"_alpha{choice.alpha:g}" if len(alphas) > 1 else ""
    return f"{task}_gamma{choice.gamma:g}{alpha}_k{choice.keep}"


def _package(choice: Choice, name: str, config: Config) -> Path:
    folder = PRESETS if config.presets_dir is None else Path(config.presets_dir)
    flags = [str(choice.run), "--keep", str(choice.keep), *["--refit"] * choice.refit]
    _run("serving.package", [*flags, "--name", name, "--to", str(folder), "--overwrite"], config)
    return folder / f"{name}.keras"


def _remove_superseded(task: str, choice: Choice, path: Path) -> None:
    """Removes the presets of this task and size that another pair made before."""
    for card in path.parent.glob(f"{task}_gamma*_k{choice.keep}.json"):
        if card.stem != path.stem:
            card.unlink()
            card.with_suffix(".keras").unlink(missing_ok=True)
            logger.warning("%s replaces %s: remove its SavedModels, too", path.stem, card.stem)


def _export(path: Path, config: Config) -> None:
    preset = str(path) if config.presets_dir is not None else path.stem
    _run("serving.export", [preset, "--to", config.saved_models], config)


def _run(module: str, flags: list[str], config: Config) -> str:
    """Runs a program of `serving`, which no trainer imports.

    Returns:
        What it printed.

    Raises:
        RuntimeError: It failed. The message ends with the last line that it printed.
    """
    hidden = {"CUDA_VISIBLE_DEVICES": "-1"} if config.device == "cpu" else {}
    command = [sys.executable, "-m", module, *flags]
    done = subprocess.run(
        command, env={**os.environ, **hidden}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise RuntimeError(
            f"python -m {module} {' '.join(flags)}: expected exit status 0, received "
            f"{done.returncode}: {said[-1].removeprefix('error: ')}"
        )
    return done.stdout


def _table(made: list[tuple[Choice, Path]]) -> str:
    """One line for each preset, with the metrics of its card."""
    lines: list[tuple[str, ...]] = [
        ("preset", "keep", "gamma", "alpha", "metric", "held out", "full", "pruned", "refit")
    ]
    for choice, path in made:
        card: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        accuracy = choice.accuracy is not None
        metric = "test_accuracy" if accuracy else "test_risk"
        numbers = [choice.accuracy if accuracy else choice.risk]
        numbers += [
            card["metrics"].get(kind, {}).get(metric) for kind in ("full", "pruned", "refit")
        ]
        pair = f"{choice.gamma:g}", f"{choice.alpha:g}"
        cells = ["-" if number is None else f"{number:.4g}" for number in numbers]
        lines.append((path.stem, str(choice.keep), *pair, metric, *cells))
    return "\n".join(fitted(lines))
