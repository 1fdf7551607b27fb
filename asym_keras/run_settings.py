"""What is known of run folders before one is read. It loads nothing."""

from __future__ import annotations

from typing import Any

# Flags that say how a run is carried out, not what it is: they may differ when a run goes on, and
# runs that differ in nothing else but the seed belong to one mean.
OPERATIONAL = (
    *("out_dir", "overwrite", "resume", "quiet", "debug", "tensorboard", "pairs", "seeds"),
    *("jobs", "refit", "transfer", "strategy", "format"),
)
# Settings that came later. A run folder names them only where they differ from these.
DEFAULTS: dict[str, Any] = {"activation": "relu", "law": "zipf", "record_spacing": "cubic"}
# Formats that figures are written in.
FORMATS = ("png", "pdf", "svg")
# What `config.json` says as the command of a run of `save_run`, and the file with its data.
COMMAND = "asym_keras.save_run"
DATA = "data.npz"


def is_saved(run: Any) -> bool:
    """Whether `save_run` wrote a `Run`."""
    return run.facts["command"] == COMMAND
