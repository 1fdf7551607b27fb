"""Several runs as one table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

from asym_keras.run_settings import OPERATIONAL
from asym_keras.runs.run import Run
from asym_keras.tables import data_frame, html_table

if TYPE_CHECKING:
    import pandas

SHOWN = 20  # rows of a table that is shown
_ALWAYS = ("gamma", "alpha", "seed")


class Runs(Sequence[Run]):
    """A sequence of runs, which shows itself as a table.

    Args:
        runs: in the order to keep.

    Example:
        >>> runs = asym_keras.load_runs("runs")
        >>> list(runs.to_dataframe()["seed"])
        [0]
    """

    def __init__(self, runs: Iterable[Run]):
        self._runs = list(runs)

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> Run | Runs:
        return Runs(self._runs[index]) if isinstance(index, slice) else self._runs[index]

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def settings(self) -> dict[str, list]:
        """Gamma, alpha, seed and the settings that differ, by name; one value a run.

        What says how a run is carried out, such as `out_dir` and `jobs`, is left out.
        """
        columns: dict[str, list] = {}
        names = [*_ALWAYS, *differing_settings(self._runs, ignore=(*OPERATIONAL, *_ALWAYS))]
        if len({run.task for run in self._runs}) > 1:
            columns["task"] = [run.task for run in self._runs]
            names = [name for name in names if name != "dataset"]
        return columns | {name: [run.setting(name) for run in self._runs] for name in names}

    def to_dataframe(self, table: str | None = None) -> pandas.DataFrame:
        """The runs as a pandas data frame.

        Args:
            table: None: one row for each run, with its settings, its last record and its folder.
                `"history"`, `"pruning"` or `"transfer"`: the rows of that table of all runs, each
                with the settings and the folder of its run.

        Raises:
            ImportError: pandas is not installed; the message names the command.
            ValueError: A run has no such table.
        """
        settings = self.settings()
        rows: list[dict[str, Any]] = []
        for place, run in enumerate(self._runs):
            head = {name: values[place] for name, values in settings.items()}
            of: list[dict] = [run.finals()]
            if table is not None:
                run.to_dataframe(table)  # refuses a table that is not there
                of = getattr(run, table).rows
            tail = {"finished": run.finished} if table is None else {}
            rows += [{**head, **row, **tail, "path": str(run.path)} for row in of]
        return data_frame(rows)

    def rows(self) -> list[list[str]]:
        """A row of names and one each run, as text: settings, risks, accuracies and folder."""
        settings = self.settings()
        finals = [run.finals() for run in self._runs]
        risks = dict.fromkeys(n for of in finals for n in of if n.endswith(("_risk", "_accuracy")))
        lines = [[*settings, *risks, "path"]]
        for place, run in enumerate(self._runs):
            numbers = [finals[place].get(name) for name in risks]
            path = str(run.path) if run.finished else f"{run.path} (unfinished)"
            cells = [*(values[place] for values in settings.values()), *numbers]
            lines.append([*(_cell(value) for value in cells), path])
        return lines

    def __repr__(self) -> str:
        if not self._runs:
            return "Runs(none)"
        lines = self.rows()
        widths = [max(map(len, column)) for column in zip(*lines[: SHOWN + 1], strict=True)]
        text = [
            "  ".join(cell.rjust(width) for cell, width in zip(line[:-1], widths, strict=False))
            + f"  {line[-1]}"
            for line in lines[: SHOWN + 1]
        ]
        return "\n".join([f"{len(self)} runs", *text, *self._rest()])

    def _repr_html_(self) -> str:
        head, *body = self.rows()
        told = "".join(f"<p>{line}</p>" for line in [f"{len(self)} runs", *self._rest()])
        return told + html_table(head, body[:SHOWN])

    def _rest(self) -> list[str]:
        more = len(self) - SHOWN
        return [f"... and {more} more; to_dataframe() has all"] if more > 0 else []


def differing_settings(runs: Sequence[Run], *, ignore: Iterable[str] = ()) -> list[str]:
    """Names of the settings that are not the same in all runs, without those to `ignore`."""
    names = dict.fromkeys(name for run in runs for name in run.config if name not in set(ignore))
    return [name for name in names if len({repr(run.setting(name)) for run in runs}) > 1]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.5g}" if isinstance(value, float) else str(value)
