"""Texts keep every byte on their way to a model and back, NULs at their end, too."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf

from serving.client import json_tensors, proto_tensors, protos
from serving.client.examples import as_features
from serving.client.signatures import Signature, TensorSpec
from serving.exporting.check import Served
from serving.exporting.heads import example_of
from serving.exporting.interface import numbers_of
from serving.exporting.rows import fitted_rows
from serving.texts import array_of

TEXTS = Signature({"x": TensorSpec("object", None)}, {}, "")
NUL, OTHER = b"ab\x00", "é\x00".encode()


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (NUL, NUL),
        ("ab\x00", NUL),
        ([NUL, b"c"], [NUL, b"c"]),
        (("ab\x00", "é\x00"), [NUL, OTHER]),
        ([["é\x00", NUL]], [[OTHER, NUL]]),
        (np.array([NUL, "é\x00"], object), [NUL, OTHER]),
        ([np.str_("ab\x00")], [NUL]),
        (np.array([b"ab", b"c"]), [b"ab", b"c"]),
        (tf.constant([NUL]), [NUL]),
        (tf.constant(NUL), NUL),
    ],
)
def test_texts_are_sent_as_they_are(value, kept):
    array = TEXTS.arrays(value)["x"]
    assert array.dtype == object
    assert array.tolist() == kept
    back = tf.make_ndarray(proto_tensors.to_proto(array, protos.load()))
    assert back.tolist() == kept
    sent = json.loads(json_tensors.encode(array))
    assert json_tensors.decode(sent, TensorSpec("object", None)).tolist() == kept


@pytest.mark.parametrize("value", [NUL, "ab\x00", [NUL], ["ab\x00"], [np.str_("ab\x00")]])
def test_features_of_an_example_keep_their_bytes(value):
    [features] = as_features([{"image": value}])
    assert features == {"image": [NUL]}
    assert type(features["image"][0]) is bytes


def test_a_number_among_texts_is_no_text():
    with pytest.raises(ValueError, match=r"each str or bytes, received 1 \(int\), entry 1"):
        TEXTS.arrays(["a", 1])
    with pytest.raises(ValueError, match="feature 'x' to be numbers or texts"):
        as_features([{"x": ["a", 1]}])


def test_numbers_and_arrays_stay_as_numpy_has_them():
    assert array_of([1, 2.5]).dtype == "float64"
    assert array_of(np.array(["a"])).dtype == "<U1"
    with pytest.raises(ValueError, match="expected float32, received <U1 with values"):
        Signature({"x": TensorSpec("float32", None)}, {}, "").arrays(["a"])
    assert json_tensors.encode(np.array([b"a"])) == '[{"b64": "YQ=="}]'


def test_rows_of_texts_become_examples():
    """Rows for warm-up requests of str, of which NumPy makes no integers."""
    spec = {"x": tf.TensorSpec((None, 2), tf.string)}
    rows = fitted_rows({"x": np.array([["ab\x00", "é"]], object)}, spec)
    example = example_of({"x": rows["x"][0]})
    assert list(example.features.feature["x"].bytes_list.value) == [NUL, "é".encode()]
    one = example_of({"x": NUL})
    assert list(one.features.feature["x"].bytes_list.value) == [NUL]


def test_a_text_without_axes_is_an_answer_like_others(tmp_path):
    assert numbers_of(tf.constant(NUL)).tolist() == NUL
    module = tf.Module()
    spec = tf.TensorSpec((None,), tf.float32, name="inputs")
    function = tf.function(lambda inputs: {"name": tf.constant(NUL)}, input_signature=[spec])
    tf.saved_model.save(module, str(tmp_path / "1"), {"serving_default": function})
    with Served(tmp_path / "1") as served:
        answer = served("serving_default", np.zeros(2, np.float32))["name"]
    assert (answer.shape, answer.tolist()) == ((), NUL)
