"""A run folder as one object."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from asym_keras.run_settings import DEFAULTS
from asym_keras.runs.damage import unreadable
from asym_keras.tables import History, Table, html_table

if TYPE_CHECKING:
    import keras
    import pandas

# Laws whose scalings depend on alpha.
_WITH_ALPHA = ("zipf", "geometric")
TABLES = ("history", "pruning", "transfer")


@dataclasses.dataclass(frozen=True, eq=False)
class Run:
    """What a trainer left in a run folder.

    Attributes:
        path: the folder.
        config: the flags, resolved, from `config.json`.
        facts: the rest of `config.json`: `command`, `dataset`, `device`, versions.
        history: the records; empty before the first is written.
        nodes: arrays of `nodes.npz`: `step` and `time` (records,), `node_weight_change`
            (records, m), float64. None where there is no such file.
        pruning: rows by number of nodes `pruned`, or None.
        transfer: rows by number of `features`, or None.
        metrics: `metrics.json`; empty where there is none.
        finished: whether training went to its end.
    """

    path: Path
    config: dict
    facts: dict
    history: History
    nodes: dict[str, np.ndarray] | None
    pruning: Table | None
    transfer: Table | None
    metrics: dict
    finished: bool

    @property
    def task(self) -> str:
        """Name of the dataset."""
        return self.facts["dataset"]["name"]

    @property
    def label(self) -> str:
        """`"gamma = 0, alpha = 0.4"`; at gamma = 1, where alpha changes nothing, `"gamma = 1"`.

        Another law than Zipf's is named, too. A network without node scalings has the name that
        it was saved with.
        """
        gamma, law = self.config.get("gamma"), str(self.setting("law"))
        if gamma is None:
            return str(self.facts.get("label", self.task))
        if gamma == 1:
            return "gamma = 1"
        parts = [f"gamma = {gamma:g}"]
        if law in _WITH_ALPHA:
            parts.append(f"alpha = {self.config['alpha']:g}")
        return ", ".join(parts if law == "zipf" else [*parts, f"law = {law}"])

    @property
    def pair(self) -> tuple[float | None, float | None, str]:
        """Gamma, alpha and law, as far as the network depends on them; None: it does not."""
        gamma, law = self.config.get("gamma"), str(self.setting("law"))
        if gamma is None or gamma == 1:
            return gamma, None, "zipf"
        return gamma, self.config["alpha"] if law in _WITH_ALPHA else None, law

    @property
    def width(self) -> int:
        """Hidden nodes m; where the settings don't say, those of the pruning curve.

        Raises:
            ValueError: There is no such curve, either.
        """
        if "width" in self.config:
            return int(self.config["width"])
        if self.pruning is None:
            raise ValueError(f"expected a run with a width, received none: {self.path}")
        return int(self.pruning[0]["pruned"] + self.pruning[0]["kept"])

    def setting(self, name: str) -> Any:
        """A setting of the run by name, also where its folder leaves it out; None: it has none."""
        return self.config.get(name, DEFAULTS.get(name))

    def load_model(self) -> keras.Model:
        """The trained `keras.Model`.

        Raises:
            FileNotFoundError: The run has not saved its model yet.
            ValueError: The file is damaged.
        """
        path = self.path / "model.keras"
        if not path.is_file():
            raise FileNotFoundError(
                f"expected the trained model in {path}, received no such file. "
                "Go on with the run (--resume) or run it again."
            )
        import asym_keras.nesting  # noqa: F401 - Keras learns of its layers
        from asym_keras.models import load_model  # loads TensorFlow

        try:
            return load_model(path)
        except Exception as error:  # Keras tells of a damaged file in many ways, "not found" too
            raise unreadable("a trained model", path, error) from error

    def to_dataframe(self, table: str = "history") -> pandas.DataFrame:
        """A table of the run as a pandas data frame, with gamma, alpha and seed in each row.

        Args:
            table: `"history"`, `"pruning"` or `"transfer"`.

        Raises:
            ImportError: pandas is not installed; the message names the command.
            ValueError: The run has no such table.
        """
        if table not in TABLES or getattr(self, table) is None:
            there = ", ".join(name for name in TABLES if getattr(self, name) is not None)
            raise ValueError(
                f"to_dataframe: expected a table that {self.path} has ({there}), received "
                f"{table!r}."
            )
        frame = getattr(self, table).to_dataframe()
        names = [name for name in ("gamma", "alpha", "seed") if name in self.config]
        for place, name in enumerate(names):
            frame.insert(place, name, self.config[name])
        return frame

    def __repr__(self) -> str:
        return f"Run({', '.join(f'{name} {text}' for name, text in self._summary().items())})"

    def _repr_html_(self) -> str:
        rows = [[name, text] for name, text in self._summary().items()]
        return html_table(None, [*rows, *([k, f"{v:.5g}"] for k, v in self.finals().items())])

    def _summary(self) -> dict[str, str]:
        told = {"task": self.task, "network": self.label}
        if self.config.get("seed") is not None:
            told["seed"] = str(self.config["seed"])
        told["state"] = "finished" if self.finished else "unfinished"
        told["records"] = str(len(self.history))
        risks = {k: v for k, v in self.finals().items() if k.endswith(("_risk", "_accuracy"))}
        told |= {name: f"{value:.4g}" for name, value in risks.items()}
        return {**told, "path": str(self.path)}

    def finals(self) -> dict[str, float]:
        """The last record; empty before the first."""
        return dict(self.history[-1]) if len(self.history) else {}
