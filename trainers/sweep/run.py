"""A sweep from its flags to its results."""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import time

from asym_keras.extras import install_command
from asym_keras.startup import import_tensorflow
from trainers.common.lock import folder_lock
from trainers.sweep import crew, launch
from trainers.sweep.config import Config
from trainers.sweep.folder import SweepFolder

logger = logging.getLogger("trainers")


class SweepFailed(RuntimeError):
    """No trial came to its end, or the last ones all failed."""


def carry_out(config: Config, command: str) -> dict | None:
    """Searches, alone or as one process of several; returns `best.json`, or None in a worker."""
    began, role = time.monotonic(), crew.role(config)
    if crew.is_launched():
        crew.follow_launcher()
    folder = SweepFolder(config.path())
    if role == "worker":
        folder.wait_for_chief(config)
    else:
        folder.check(config)
        if config.resume:
            folder.require_readable()
    _require_extra()
    # One process of a sweep keeps other commands out of the folder and writes the results.
    leads = role != "worker" and not crew.is_launched()
    with folder_lock(folder.path) if leads else contextlib.nullcontext():
        if role != "worker":
            folder.open(config, command)
        _search(config, folder, role)
        if not leads:
            return None
        from trainers.sweep import nested, results

        best = (results if config.nested is None else nested).write(config, folder)
    _raise_failures(config, folder, best)
    _tell_early_end(config, len(folder.records()), time.monotonic() - began)
    return best


def _search(config: Config, folder: SweepFolder, role: str) -> None:
    if config.crew() and role == "alone":
        launch.launch(config, folder)
        return
    if role != "alone" and folder.is_over(config):
        # A chief that is brought back after the end would wait for its workers, and a worker for
        # its chief. A chief that still runs ends only after its workers have asked it once more.
        if role == "chief" or not crew.chief_answers():
            logger.info("%s: the sweep in %s is over", crew.own_id(), folder.path)
            return
    import_tensorflow()  # before KerasTuner does
    from trainers.sweep import tuner

    tuner.search(config, folder, role)


def _tell_early_end(config: Config, trials: int, seconds: float) -> None:
    if trials < config.trials:
        late = config.max_time is not None and seconds >= config.max_time
        why = "the time is over" if late else "the space has no other point"
        logger.warning("%d of %d trials: %s", trials, config.trials, why)


def _raise_failures(config: Config, folder: SweepFolder, best: dict | None) -> None:
    records = folder.records()
    failing = folder.keeps_failing(config)
    if best is None or (failing and len(records) < config.trials):
        last = records[-config.max_failures :]
        errors = [f"  trial {r['trial']}: {r['error']}" for r in last if r["error"]]
        # With the same number the sweep would end again before its first trial.
        more = f" and --max-failures {2 * config.max_failures}" if failing else ""
        raise SweepFailed(
            f"expected trials that come to their end, received {len(records)} trials in "
            f"{folder.path}, the last of them:\n" + "\n".join(errors or ["  none has ended"]) + "\n"
            f"Go on with --resume{more} once the reason is gone."
        )


def _require_extra() -> None:
    names = {"keras_tuner": "keras-tuner", "tensorboard": "tensorboard", "sklearn": "scikit-learn"}
    for module, package in names.items():
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(
                f"expected the package {package}, received none. Install what sweeps need with: "
                f"{install_command('tune')}"
            )
