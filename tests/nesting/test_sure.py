"""How sure outputs are, and the thresholds that there are to choose from."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from asym_keras.nesting import FirstSure
from asym_keras.nesting.sure import sureness, thresholds


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_probabilities_of_16_bit_logits_are_of_32(dtype):
    """Probabilities of .9998 and .9999 are both 1 in 16 bits."""
    logits = np.array([[[8.75, 0.0]], [[9.0, 0.0]], [[-6.25, 0.0]]])
    expected = 1 / (1 + np.exp(-np.abs(logits[..., 0])))
    assert len(np.unique(expected.astype(dtype))) < 3
    for outputs in (logits, logits[..., :1]):  # of two classes, or of one logit
        tensor = keras.ops.cast(outputs, dtype)
        for given in (tensor, keras.ops.convert_to_numpy(tensor)):
            sure = sureness(given, True)
            assert keras.backend.standardize_dtype(sure.dtype) == "float32"
            np.testing.assert_allclose(sure, expected, rtol=1e-6)
    sure = sureness(keras.ops.cast(logits, "float64"), True)
    np.testing.assert_allclose(sure, expected, rtol=1e-14)


def test_every_threshold_is_considered():
    """Against each probability as the threshold, and one above them, with NaN and ties."""
    rng = np.random.default_rng(0)
    sure = rng.uniform(0.4, 1.0, (300, 3)).astype("float32").round(3)
    right, widths = rng.uniform(size=(300, 3)) < sure, np.array([2, 5, 12])
    sure[0, 0], sure[1, :2] = np.nan, np.nan
    grid, accuracies, means = thresholds(right, sure, widths)
    best = {}
    for threshold in [*np.unique(sure[:, :2][sure[:, :2] > 0]), np.float32(1.0)]:
        index = [next((p for p in (0, 1) if row[p] >= threshold), 2) for row in sure]
        best[(right[range(300), index].mean(), widths[index].mean())] = threshold
    assert grid.dtype == "float32"
    assert (np.diff(grid) > 0).all()
    assert list(zip(accuracies, means, strict=True)) == list(best)
    for threshold, accuracy, mean in zip(grid, accuracies, means, strict=True):
        index = [next((p for p in (0, 1) if row[p] >= threshold), 2) for row in sure]
        assert (right[range(300), index].mean(), widths[index].mean()) == (accuracy, mean)


def test_choosing_layer_comes_back_from_its_config():
    layer = FirstSure((2, 5, 12), 0.25, from_logits=False)
    back = FirstSure.from_config(layer.get_config())
    assert (back.widths, back.threshold, back.from_logits) == ((2, 5, 12), 0.25, False)
