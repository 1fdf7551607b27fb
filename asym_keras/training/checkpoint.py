"""Checkpoints: one file with everything a run needs to go on, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from typing import Any

import numpy as np

from asym_keras.arrays import bytes_of
from asym_keras.files import atomic_path, user_path
from asym_keras.training.errors import CheckpointError

FORMAT = "asym_keras checkpoint 2"
FILE_NAME = "state.npz"
# What older checkpoints do not say, and what a run may have otherwise that goes on from its end.
_LATER = ("activations",)
_OF_THE_END = {"end time", "record times"}


class Checkpoint:
    """The checkpoint of one run, in `folder`.

    Args:
        folder: where `state.npz` lies; made when first saved.
        identity: what the run is (method, model, data), JSON values. A checkpoint with
            another identity is refused.
    """

    def __init__(self, folder: str | os.PathLike, identity: dict):
        self.path = user_path(folder) / FILE_NAME
        self._identity = json.loads(json.dumps(identity))

    def exists(self) -> bool:
        """Whether there is something to resume from."""
        return self.path.exists()

    def save(self, arrays: dict[str, Any], values: dict) -> None:
        """Replaces the checkpoint by `arrays` and `values` (JSON).

        Raises:
            OSError: It could not be written; the one before is unchanged.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for stale in self.path.parent.glob(".*.tmp.npz"):
            stale.unlink(missing_ok=True)
        header = {"format": FORMAT, "identity": self._identity, "values": values}
        with atomic_path(self.path) as temporary:
            save_arrays(temporary, arrays, header)

    def load(self) -> tuple[dict[str, np.ndarray], dict]:
        """Returns the saved arrays and values.

        Raises:
            CheckpointError: Damaged, or of another run; says which and what to do.
        """
        try:
            with open(self.path, "rb") as file:  # NumPy leaves one that it can't read open
                arrays, header = load_arrays(file)
            if header["format"] != FORMAT:
                raise KeyError(header["format"])
            theirs, values = header["identity"], header["values"]
        except Exception as error:  # a flipped bit can make NumPy and zipfile raise almost any
            raise CheckpointError(
                f"Expected {self.path} to be a whole checkpoint ({FORMAT!r}), received one that "
                f"can't be read ({type(error).__name__}). Put back a good copy, or "
                "delete it to start the run anew."
            ) from error
        ours = self._identity
        theirs = {**{name: ours[name] for name in _LATER if name in ours}, **theirs}
        differing = [k for k in sorted({*theirs, *ours}) if theirs.get(k) != ours.get(k)]
        # A run to a later end goes on from its former one; its records were made at other times.
        goes_on = "end time" in differing and theirs["end time"] < ours.get("end time", 0.0)
        if differing and not (goes_on and set(differing) <= _OF_THE_END):
            told = [f"{k} ({theirs.get(k)!r} there, {ours.get(k)!r} here)" for k in differing]
            raise CheckpointError(
                f"Expected {self.path} to be of this run, received one that differs in "
                f"{', '.join(told)}. Resume with the settings of that run, or use another folder."
            )
        return arrays, values


def digest(arrays) -> str:
    """A short hash of arrays, by which a checkpoint's identity knows them."""
    found = hashlib.sha256()
    for array in arrays:
        array = np.asarray(array)
        text = array.dtype.kind == "O"
        # Of numbers a view is hashed: these arrays are as large as the weights and the data.
        found.update(repr(array.tolist()).encode() if text else bytes_of(array))
    return found.hexdigest()[:16]


def save_arrays(file, arrays: dict[str, Any], header: dict) -> None:
    """Writes arrays and JSON values as `.npz`, into a path or an open file."""
    # NumPy's files do not know bfloat16: its bits are kept as integers.
    dtypes = {name: getattr(a, "dtype", None) for name, a in arrays.items()}
    halves = sorted(name for name, d in dtypes.items() if getattr(d, "name", d) == "bfloat16")
    arrays = arrays | {name: np.asarray(arrays[name]).view("uint16") for name in halves}
    header = header | ({"bfloat16": halves} if halves else {})
    np.savez(file, **arrays, header=np.array(json.dumps(header)))


def load_arrays(file) -> tuple[dict[str, np.ndarray], dict]:
    """What `save_arrays` wrote."""
    with np.load(file, allow_pickle=False) as content:
        arrays = {name: content[name] for name in content.files}
    header = json.loads(str(arrays.pop("header")))
    for name in header.pop("bfloat16", ()):
        arrays[name] = arrays[name].view("bfloat16")
    return arrays, header
