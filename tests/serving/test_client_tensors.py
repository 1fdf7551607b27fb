"""Arrays as JSON and as TensorProto."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from crossed import some_slow

from serving.client import json_tensors, proto_tensors, protos
from serving.client.signatures import Signature, TensorSpec

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_numbers_survive_json_exactly(dtype):
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(50, 7)) * 10.0 ** rng.integers(-4, 4, size=(50, 7))).astype(dtype)
    x[0, :3] = np.nan, np.inf, -np.inf
    back = json_tensors.decode(json.loads(json_tensors.encode(x)), TensorSpec(dtype, None))
    np.testing.assert_array_equal(back, x)
    finite = x[1:]
    text = json_tensors.encode(finite)
    back = json_tensors.decode(json.loads(text), TensorSpec(dtype, None))
    np.testing.assert_array_equal(back, finite)
    assert back.shape == finite.shape


def test_a_message_of_more_than_2_gib_is_refused_before_it_is_made():
    from serving.client import protos, rpc
    from serving.client.endpoint import parse_endpoint

    endpoint = parse_endpoint("grpc://localhost", "m")
    for array in (
        np.broadcast_to(np.float32(0), (2**20, 512)),  # takes no memory
        np.broadcast_to(np.array(bytes(2**20), object), (2048,)),
    ):
        with pytest.raises(ValueError, match=r"received 2\.00 GiB; give a batch_size"):
            rpc.predict_request(protos.load(), endpoint, {"inputs": array}, signature="s")


def test_extreme_float32_survive_json():
    info = np.finfo(np.float32)
    x = np.array([info.max, info.min, info.tiny, info.smallest_subnormal, -0.0], np.float32)
    text = json_tensors.encode(x)
    np.testing.assert_array_equal(np.array(json.loads(text), np.float32), x)


def test_tokens_of_json_are_those_of_tf_serving():
    x = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    assert json_tensors.encode(x) == "[NaN,Infinity,-Infinity,1.0]"
    assert json_tensors.encode(np.array([[True], [False]])) == "[[true],[false]]"
    assert json_tensors.encode(np.array(2.5, np.float32)) == "2.5"
    assert json_tensors.encode(np.zeros((0, 4), np.float32)) == "[]"
    assert json_tensors.encode(np.array([b"a", b"\xff"], object)) == (
        '[{"b64": "YQ=="}, {"b64": "/w=="}]'
    )


def test_strings_come_as_bytes():
    signature = Signature({}, {"texts_bytes": TensorSpec("object", (None,))}, "")
    answer = json_tensors.decode_answer({"outputs": ["é", {"b64": "/w=="}]}, signature)
    assert answer["texts_bytes"].tolist() == ["é".encode(), b"\xff"]


def test_no_rows_give_no_rows():
    # The server sends `[]`: the axes within come from the signature.
    answer = json_tensors.decode([], TensorSpec("float32", (None, 10)))
    assert answer.shape == (0, 10)
    assert answer.dtype == np.float32


@pytest.fixture(scope="module")
def messages():
    return protos.load()


@pytest.mark.parametrize(
    "dtype",
    ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint32", "bool"],
)
def test_tensor_protos_are_those_of_tensorflow(messages, dtype):
    import tensorflow as tf

    x = np.array([[0, 1, 2], [3, 100, 7]]).astype(dtype)
    sent = proto_tensors.to_proto(x, messages)
    np.testing.assert_array_equal(tf.make_ndarray(sent), x)
    assert tf.make_ndarray(sent).dtype == dtype
    contents = tf.make_tensor_proto(x)  # raw bytes
    fields = tf.compat.v1.make_tensor_proto(x.ravel().tolist(), dtype, x.shape)
    for received in (contents, fields):
        back = proto_tensors.from_proto(received, messages)
        np.testing.assert_array_equal(back, x)
        assert back.dtype == dtype
        assert back.flags.writeable


def test_last_value_of_a_tensor_proto_stands_for_the_rest(messages):
    proto = messages.tensor.TensorProto(dtype=1, float_val=[1.5, 2.5])
    for n in (2, 2):
        proto.tensor_shape.dim.add(size=n)
    back = proto_tensors.from_proto(proto, messages)
    assert back.tolist() == [[1.5, 2.5], [2.5, 2.5]]


def test_strings_and_empty_tensors(messages):
    texts = np.array([[b"a", b"\xff"]], object)
    back = proto_tensors.from_proto(proto_tensors.to_proto(texts, messages), messages)
    assert back.tolist() == texts.tolist()
    empty = proto_tensors.to_proto(np.zeros((0, 4), np.float32), messages)
    assert proto_tensors.from_proto(empty, messages).shape == (0, 4)


def test_other_byte_orders_are_turned(messages):
    x = np.array([1.5, -2], ">f4")
    assert proto_tensors.from_proto(proto_tensors.to_proto(x, messages), messages).tolist() == [
        1.5,
        -2,
    ]


def test_other_dtypes_are_told(messages):
    with pytest.raises(ValueError, match="received complex64"):
        proto_tensors.to_proto(np.zeros(1, np.complex64), messages)
    with pytest.raises(ValueError, match="received DT_COMPLEX64"):
        proto_tensors.from_proto(messages.tensor.TensorProto(dtype=8), messages)


WITHOUT_TENSORFLOW = """
import sys
import numpy as np
from serving.client import protos, proto_tensors
messages = protos.load()
loaded = [n for n in sys.modules if n.split(".")[0] == "tensorflow" and not n.endswith("_pb2")]
assert loaded == [], loaded
sent = proto_tensors.to_proto(np.array([1.5, 2], np.float32), messages)
print("light")
if sys.argv[1] == "later":
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2
    assert tensor_pb2.TensorProto is messages.tensor.TensorProto
    assert tf.make_ndarray(sent).tolist() == [1.5, 2]
    assert protos.load().tensor is messages.tensor
    tf.saved_model.save(tf.Module(), sys.argv[2])
    import keras
    print("both")
"""


@pytest.mark.parametrize("when", some_slow(["never"], ["later"]))
def test_messages_load_without_tensorflow_and_leave_it_room(tmp_path, when):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, when, str(tmp_path / "saved")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == {"never": "light", "later": "both"}[when]
