"""Rows that the load generator makes for models of one's own."""

from __future__ import annotations

import numpy as np

from benchmarks.load.measure import random_inputs
from serving.client.signatures import Signature, TensorSpec


def test_random_inputs_of_models_of_ones_own():
    """Words, free lengths, and integers that any table of categories has."""
    specs = {"word": ("object", (None,)), "free": ("float32", (None, None, 2))}
    specs |= {"category": ("int64", (None, 3)), "flag": ("bool", (None,))}
    signature = Signature({n: TensorSpec(*spec) for n, spec in specs.items()}, {}, "")
    drawn = random_inputs(signature, 40, np.random.default_rng(0))
    assert drawn["word"].shape == (40,)
    assert all(isinstance(word, bytes) for word in drawn["word"])
    assert drawn["free"].shape == (40, 32, 2)
    assert set(drawn["category"].ravel()) == {0, 1}
    assert drawn["category"].dtype == np.int64
    assert set(drawn["flag"]) == {False, True}
