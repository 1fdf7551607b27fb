"""Makes all runs of one command: checks their folders first, and prints a summary at the end."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import logging
import sys
from concurrent.futures import Future
from pathlib import Path

from asym_keras.extras import install_command
from trainers.common import environment
from trainers.common.folder import RunFolder
from trainers.common.jobs import in_processes
from trainers.common.network import in_names
from trainers.common.strategy import Task, make_strategy, read_task
from trainers.common.tables import aligned, fitted

logger = logging.getLogger("trainers")


class RunsFailed(RuntimeError):
    """Some runs of a batch failed; the others are complete."""


def run_all(config, command: str) -> list[dict]:
    """Runs every (gamma, alpha) and seed of `config`, each in its folder; returns their metrics.

    It checks folders and extras before it loads anything, and the data before the first run, so
    that a mistake shows before hours of training.

    Args:
        config: a `TrainerConfig`.
        command: the command as the user typed it, which `config.json` keeps.

    Raises:
        RunsFailed: At least one of several runs failed. The others are complete.
    """
    task = read_task(config.strategy)
    runs = config.runs()
    folders = [RunFolder(path) for path in run_paths(config)]
    if task.is_first:
        for run, folder in zip(runs, folders, strict=True):
            folder.check(run)
    if config.tensorboard and importlib.util.find_spec("tensorboard") is None:
        raise ModuleNotFoundError(
            "--tensorboard: expected the package tensorboard, received none. "
            f"Install it with: {install_command('tensorboard')}"
        )
    device, strategy, dataset = _prepare(config, task)
    if config.transfer and dataset.transfer is None:
        raise ValueError(
            f"--transfer: expected data with a part for transfer, received {dataset.name!r}, "
            "which has none. Leave the flag out."
        )
    if config.jobs == 1 or len(runs) == 1:
        facts = {"command": command, "device": device}
        ended = _one_after_another(runs, folders, dataset, facts, strategy)
    else:
        del dataset  # each process loads its own
        ended = _several_at_once(runs, folders, command, config.jobs)
    failed = [(folder, error) for folder, future in ended if (error := future.exception())]
    if failed and len(runs) == 1:
        raise failed[0][1]
    done = [(folder, future.result()) for folder, future in ended if not future.exception()]
    if done and task.is_first:
        _print_summary(done)
    if failed:
        reasons = "\n".join(f"  {f.path}: {type(error).__name__}: {error}" for f, error in failed)
        raise RunsFailed(
            f"{len(failed)} of {len(runs)} runs failed:\n{reasons}\n"
            "Repeat the command with --resume once the reason is gone."
        )
    return [metrics for _, metrics in done]


def _prepare(config, task: Task):
    """The device's name, the strategy, and the dataset of `config`."""
    # The data come last: to load them may run TensorFlow (backbones, TFDS), and once TensorFlow
    # has run, no device can be chosen.
    device = environment.prepare_device(config.device)
    strategy = make_strategy(config.strategy, task)
    return device, strategy, config.load()


def _one_after_another(runs, folders, dataset, facts, strategy) -> list[tuple[RunFolder, Future]]:
    from asym_keras.training.errors import TrainingError, WorkerLostError
    from asym_keras.training.workers import Workers
    from trainers.common import experiment

    workers = Workers(strategy)
    ended = []
    for place, (run, folder) in enumerate(zip(runs, folders, strict=True), start=1):
        if len(runs) > 1:
            logger.info("run %d of %d: %s", place, len(runs), folder.path)
        future: Future = Future()
        try:
            with workers.loss_told():
                future.set_result(experiment.run(run, dataset, folder, facts, workers))
        except Exception as error:
            # A divergence stops all workers at the same step, so all go on to the next run. Any
            # other error may be this worker's alone. The others would then wait for it in the next
            # run, so it ends the command.
            alike = isinstance(error, TrainingError) and not isinstance(error, WorkerLostError)
            if workers.count > 1 and not alike:
                raise
            if len(runs) > 1:
                logger.error("failed: %s", error, exc_info=run.debug)
            future.set_exception(error)
        ended.append((folder, future))
    _leave_together(workers)
    return ended


def _leave_together(workers) -> None:
    """Makes all workers wait until worker 0 has computed its curves.

    Worker 0 would report a worker that ends earlier as lost.
    """
    from asym_keras.training.errors import WorkerLostError

    try:
        with workers.loss_told():
            workers.meet()
    except WorkerLostError:
        if not workers.is_first:
            raise
        logger.warning("a worker was lost after all runs were complete")


def _several_at_once(runs, folders, command: str, jobs: int) -> list[tuple[RunFolder, Future]]:
    from asym_keras.bars import progress_bar

    items = [
        (dataclasses.replace(run, quiet=True), folder, command)
        for run, folder in zip(runs, folders, strict=True)
    ]
    futures: dict[int, Future] = {}
    with progress_bar(total=len(runs), desc="runs", disable=runs[0].quiet) as bar:
        for place, future in in_processes(_run_in_process, items, jobs):
            futures[place] = future
            if future.exception():
                bar.write(f"failed: {folders[place].path}: {future.exception()}", sys.stderr)
            bar.update()
    return [(folders[place], futures[place]) for place in sorted(futures)]


def _run_in_process(item) -> dict:
    from trainers.common import experiment

    run, folder, command = item
    # All runs of a process are of one batch: they differ in gamma, alpha and seed alone, on which
    # the data do not depend. With these three fixed, the process loads the data once.
    same = dataclasses.replace(run, gamma=0.0, alpha=0.5, seed=0)
    device, _, dataset = _prepare_once(same, Task())
    return experiment.run(run, dataset, folder, {"command": command, "device": device})


_prepare_once = functools.lru_cache(maxsize=1)(_prepare)


def run_paths(config, runs=None) -> list[Path]:
    """The folder of each of `runs`, which are some runs of `config`; None: of all its runs."""
    several = config.pairs is not None or config.seeds is not None
    if config.out_dir is not None and not several:
        return [Path(config.out_dir)]
    return [
        Path(config.out_dir or "runs")
        / f"{run.task()}-{run.protocol}-g{run.gamma:g}-a{run.alpha:g}-m{run.width}-{run.solver}"
        f"{in_names(run)}-s{run.seed}"
        for run in (config.runs() if runs is None else runs)
    ]


_SUMMARY = (
    *("gamma", "alpha", "seed", "time", "train_risk", "test_risk", "train_accuracy"),
    *("test_accuracy", "weight_change", "ntg_change", "ntg_min_eigenvalue", "gradients"),
    *("total_seconds",),
)


def _print_summary(done: list[tuple[RunFolder, dict]]) -> None:
    names = [name for name in _SUMMARY if name in done[0][1]]
    cells = [names, *([f"{metrics[name]:.5g}" for name in names] for _, metrics in done)]
    lines = aligned([*zip(*cells, strict=True)]) if len(done) == 1 else fitted(cells, ">", keys=3)
    print("\n".join([*lines, *(str(folder.path) for folder, _ in done)]))
