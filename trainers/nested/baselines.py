"""Dense networks, each trained at one width, with the best of several rates."""

from __future__ import annotations

import dataclasses
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras

from asym_keras.datasets import Dataset
from asym_keras.files import write_text
from trainers.nested import networks
from trainers.nested.config import PLAIN
from trainers.nested.data import Rows, split, test_rows

if TYPE_CHECKING:
    from trainers.nested.config import Config

logger = logging.getLogger("trainers")

TUNED_ON = 0.1  # share of the training rows that rates are chosen on, where --held-out has none


def rows(config: Config, data: Dataset, folder: Path) -> list[dict[str, Any]]:
    """A row for each width and seed, of the network with that width's best rate.

    Rates are chosen with the first seed, on training rows that are left out. What `folder` holds
    is not trained again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    widths, rates, seeds = config.all_widths(), config.tried(), config.run_seeds()
    choice = split(data, config.held_out or TUNED_ON)
    final = split(data, config.held_out)[0], test_rows(data)
    total, place = len(widths) * (len(rates) + len(seeds)), 0
    found = []

    def cell(name: str, width: int, rate: float, seed: int, parts: Any) -> dict[str, Any]:
        nonlocal place
        place += 1
        settings = {
            **{key: getattr(config, key) for key in ("network", "epochs", "batch_size")},
            "data": data.fingerprint(),
            "rows": len(parts[0]),
            **({"left_out": "drawn"} if len(parts[0]) < len(data.x_train) else {}),
            **{"width": width, "rate": rate, "seed": seed},
        }
        path = folder / f"{name}.json"
        there = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        if there.get("settings") != settings:
            logger.info("Dense network %d of %d: %s", place, total, name)
            there = {"settings": settings, **_one(config, data, width, rate, seed, *parts)}
            write_text(path, json.dumps(there) + "\n")
        return there

    for width in widths:
        tried = {
            rate: cell(f"w{width}-r{rate:g}-tuning", width, rate, seeds[0], choice)
            for rate in rates
        }
        best = max(rates, key=lambda rate: networks.judge(tried[rate]["numbers"]))
        if best in (rates[0], rates[-1]) and len(rates) > 1:
            logger.info("width %d: the best rate, %g, is at the edge of --rates", width, best)
        for seed in seeds:
            one = cell(f"w{width}-r{best:g}-s{seed}", width, best, seed, final)
            found.append(
                {
                    **{"network": "dense", "width": width, "seed": seed, "learning_rate": best},
                    **{f"test_{name}": value for name, value in one["numbers"].items()},
                    "epoch_seconds": one["epoch_seconds"],
                }
            )
    return found


def _one(
    config: Config, data: Dataset, width: int, rate: float, seed: int, train: Rows, test: Rows
) -> dict[str, Any]:
    """Trains one network; returns its numbers and its cost."""
    keras.utils.set_random_seed(seed)
    plain = dataclasses.replace(config, **PLAIN)
    steps = networks.steps_of(plain, train)
    model = networks.build(plain, data, width, steps=steps, rate=rate)
    seconds = networks.fit(plain, model, train)
    numbers = networks.measures(networks.answers(model, test.x), test.y)
    keras.utils.clear_session()  # or compiled functions of all networks stay in memory
    return {"numbers": numbers, "epoch_seconds": round(seconds, 4)}
