"""Values on their way to a signature's dtype: none changes but in its last digits."""

from __future__ import annotations

import numpy as np
import pytest

from serving.client.inputs import read_inputs
from serving.client.signatures import Signature, TensorSpec


def fitted(value, dtype):
    return Signature({"x": TensorSpec(dtype, None)}, {}, "").arrays(value)["x"]


def test_a_finite_number_does_not_become_infinite():
    for value, dtype in (([1.0, 1e39], "float32"), (-1e39, "float32"), ([70000], "float16")):
        with pytest.raises(ValueError, match=f"'x': expected {dtype}, .* that do not fit it"):
            fitted(value, dtype)
    values = [np.inf, -np.inf, np.nan, 1e-50, 3.4e38]
    np.testing.assert_array_equal(fitted(values, "float32"), np.float32(values))


@pytest.mark.parametrize("bad", [None, np.nan, 1])
def test_a_text_that_is_none_is_refused(bad):
    """As pandas keeps a missing value in a column of texts."""
    with pytest.raises(ValueError, match=rf"each str or bytes, received {bad!r} .*, entry 3"):
        fitted(np.array([["a", b"b"], ["", bad]], object), "object")


def test_texts_of_every_kind_pass():
    for texts in (np.array(["a", b"\xff"], object), ["é", ""], np.array([b"a", b"b"])):
        found = fitted(texts, "object")
        assert found.dtype == object
        plain = [v.encode() if isinstance(v, str) else v for v in found.tolist()]
        assert plain == [v.encode() if isinstance(v, str) else v for v in list(texts)]


@pytest.mark.parametrize("inputs", [("id",), ("id", "b")])
def test_integers_of_a_table_keep_all_their_digits(tmp_path, inputs):
    """Those that no float64 holds, above 2**53."""
    signature = Signature({name: TensorSpec("int64", (None, 1)) for name in inputs}, {}, "")
    rows = ["9007199254740993", "-9007199254740995", "3.0", "1e3"]
    text = "\n".join([",".join(inputs), *(",".join([cell] * len(inputs)) for cell in rows)])
    (tmp_path / "x.csv").write_text(text)
    arrays = signature.arrays(read_inputs([tmp_path / "x.csv"], signature))
    for name in inputs:
        assert arrays[name].dtype == np.int64
        assert arrays[name].ravel().tolist() == [2**53 + 1, -(2**53) - 3, 3, 1000]
    (tmp_path / "x.csv").write_text("\n".join([text, ",".join(["1.5"] * len(inputs))]))
    with pytest.raises(ValueError, match="expected int64, received float64 with values"):
        signature.arrays(read_inputs([tmp_path / "x.csv"], signature))
