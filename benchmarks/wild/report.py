"""The page that shows the table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.wild.cells import Cell
from benchmarks.wild.operations import refusal_of
from benchmarks.wild.table import TABLE

HEAD = """# Any Keras model: right, or refused by name

Each cell shows one operation on one small model. Its result was compared with an independent
reference: an eager loop, one backward pass for each number, NumPy on `model.predict`, or the model
with its nodes masked. "right" means that no number is off by more than a share of the largest one:
1e-7 in float64, 1e-3 in float32, 0.05 in float16, 0.2 in bfloat16, and at least 0.01 for flows.
"refused (5)" means that the library refuses and names what stands in the way; reason 5 is below the
table. There is no third outcome.

    python -m benchmarks.wild --out docs/any_model.md

| column | is |
| --- | --- |
| descent, flow | weights, state, risk after `train` by `GradientDescent`, by `GradientFlow` |
| probes | `RiskProbe`: risk, and for classes accuracy |
| auto, structured, jacobian, closed form | `empirical_ntg` by that method |
| float64 | `empirical_ntg` with `dtype="float64"` |
| ntg_predict | the linearised model at time 0, at a finite time, at the end of training |
| keep all, masking | `prune` with all nodes, with half of them, of each `AsymScaledDense` in turn |
| save, load | the model and the pruned one through a `.keras` file, NTG included |
| export | the pruned model (the model, where nothing can be cut) as a SavedModel |

"""


def page(rows: Mapping[str, Mapping[str, Cell]], operations: Sequence[str]) -> str:
    """The table, the reasons, and how many cells came out how."""
    reasons: list[str] = []
    lines = [f"| model | {' | '.join(operations)} |", "|" + " --- |" * (len(operations) + 1)]
    for name, row in rows.items():
        cells = [_shown(name, o, row.get(o), reasons) for o in operations]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    cells = [cell for row in rows.values() for cell in row.values()]
    counts = {o: sum(cell.outcome == o for cell in cells) for o in ("right", "refused", "wrong")}
    total = (
        f"{len(rows)} models, {len(cells)} cells: {counts['right']} right, "
        f"{counts['refused']} refused, {counts['wrong']} wrong."
    )
    numbered = [f"{i}. {reason}" for i, reason in enumerate(reasons, 1)]
    return HEAD + "\n".join([*lines, "", total, "", "Reasons for refusals:", "", *numbered]) + "\n"


def _shown(name: str, operation: str, cell: Cell | None, reasons: list[str]) -> str:
    if cell is None:
        return ""
    if cell.outcome != "refused":
        return "right" if cell.outcome == "right" else "**wrong**"
    refusal = refusal_of(TABLE[name], operation)
    assert refusal is not None
    if refusal.reason not in reasons:
        reasons.append(refusal.reason)
    return f"refused ({reasons.index(refusal.reason) + 1})"
