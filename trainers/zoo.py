"""Makes the zoo: the best pruned networks of each task, as presets and as SavedModels.

    python -m trainers.zoo
    python -m trainers.zoo --tasks simulated,concrete --dry-run
    python -m trainers.zoo --tasks cifar10 --features features.npz
    python -m trainers.zoo --tasks simulated --steps 200 --presets-dir quick --no-export

Each task is trained with the four (gamma, alpha) of the protocol `paper`, seed 0; runs that are in
--runs are taken from there. For each number of nodes the best pair, with the readout refitted or
not, is chosen by rows that are neither trained on nor tested on: the part for transfer; for
`simulated` fresh draws; for `cifar10` a tenth of the training rows, which its runs leave out. Its
preset replaces the one of that task and size. A task that fails is told, and the others go on.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainers import _cli
from trainers._cli import knob

if TYPE_CHECKING:
    from trainers._zoo_choice import Choice

MODULE = "trainers.zoo"
TASKS = ("simulated", "concrete", "energy", "airfoil", "plant", "mnist", "cifar10")
PRESETS = Path(__file__).resolve().parent.parent / "asym_keras" / "presets"

logger = logging.getLogger("trainers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Flags of this program."""

    tasks: str = knob(",".join(TASKS), "which tasks, separated by commas")
    keep: str = knob("20,50,100", "numbers of nodes that stay, separated by commas")
    runs: str = knob("runs/paper-figures", "where runs are kept, a folder for each task")
    presets_dir: str | None = knob(None, "where presets go (default: the package's own folder)")
    saved_models: str = knob("saved_models", "where SavedModels go")
    no_export: bool = knob(False, "write presets only")
    features: str | None = knob(None, "features of CIFAR-10, for the task", metavar="FILE.npz")
    jobs: int = knob(1, "runs at once, in processes that share the cores")
    width: int | None = knob(None, "hidden nodes, for a quick look (default: the trainer's)")
    steps: int | None = knob(None, "steps, for a quick look (default: the trainer's)")
    device: str = knob("auto", "where to run", choices=["auto", "cpu", "gpu"])
    dry_run: bool = knob(False, "list the runs that are missing; make none, write nothing")
    quiet: bool = knob(False, "no progress bar")
    debug: bool = knob(False, "show tracebacks")

    def __post_init__(self):
        for name in self.names():
            if name not in TASKS:
                raise ValueError(f"--tasks: expected some of {','.join(TASKS)}, received {name!r}.")
        for name in ("jobs", "width", "steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name}: expected at least 1, received {value}.")
        widest = 2000 if self.width is None else self.width
        if not 1 <= min(self.keeps()) <= max(self.keeps()) <= widest:
            raise ValueError(f"--keep: expected numbers from 1 to {widest}, received {self.keep}.")
        if self.features is not None and not Path(self.features).is_file():
            raise ValueError(
                f"--features: expected a file, received no such file: {self.features}."
            )
        quick = [name for name in ("width", "steps") if getattr(self, name) is not None]
        if quick and self.presets_dir is None:
            raise ValueError(
                f"--{quick[0]}: expected --presets-dir with it, since networks of a quick look "
                "don't belong in the package, received none."
            )

    def names(self) -> list[str]:
        """The tasks."""
        return self.tasks.split(",")

    def keeps(self) -> list[int]:
        """The numbers of nodes, each once, increasing."""
        words = self.keep.split(",")
        if not all(word.isdecimal() for word in words):
            raise ValueError(
                f"--keep: expected whole numbers such as 20,50,100, received {self.keep!r}."
            )
        return sorted({int(word) for word in words})


def main(argv=None) -> list[Path]:
    """Runs the command line; returns the presets written."""
    config = _cli.parse_config(Config, argv, module=MODULE, description=__doc__)
    return _cli.run_main(_zoo, config, argv, module=MODULE)


def _zoo(config: Config) -> list[Path]:
    """Makes each task's presets, or lists its runs; what fails is told, and ends in status 1."""
    if not config.dry_run:
        from trainers import _environment

        # Before any network is loaded: the programs of `serving` need a part of a GPU's memory.
        _environment.prepare_device(config.device)
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
        _configure(Path(config.saved_models), config)
    if made:
        print(_table(made))
    if failed:
        print(f"error: tasks that failed: {', '.join(failed)}", file=sys.stderr)
        sys.exit(1)
    return [path for _, path in made]


def _list_missing(name: str, config: Config) -> None:
    from trainers._zoo_runs import experiment

    runs = experiment(name, config)
    missing = runs.missing()
    print(f"{name}: {len(missing)} of {len(runs.pairs())} runs missing")
    if missing:
        print(f"  {runs.text()}")
        print("\n".join(f"  {path}" for path in missing))


def _task(name: str, config: Config) -> list[tuple[Choice, Path]]:
    """Trains what is missing, chooses, packages, exports."""
    from trainers._zoo_choice import choose
    from trainers._zoo_runs import experiment

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
    """With alpha where the protocol has several for this gamma."""
    alphas = {alpha for gamma, alpha in _cli.PAIRS["paper"] if gamma == choice.gamma}
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


def _configure(folder: Path, config: Config) -> None:
    """Writes models.config, by which the Docker image serves every model of the folder."""
    from asym_keras.files import write_text

    flags = ["--models", str(folder), "--mount", "/models"]
    write_text(folder / "models.config", _run("serving.model_config", flags, config))


def _run(module: str, flags: list[str], config: Config) -> str:
    """Runs a program of `serving`, which no trainer imports.

    Returns:
        What it printed.

    Raises:
        RuntimeError: It failed; the last line of what it said.
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
    """A line each preset, with the metrics of its card."""
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
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


if __name__ == "__main__":
    main()
