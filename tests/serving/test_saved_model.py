"""The SavedModel: what its signatures answer, what it holds, what a model server would refuse."""

from __future__ import annotations

import keras
import numpy as np
import packaged_models as pm
import pytest
import tensorflow as tf
from crossed import crossed
from packaged_models import CASES, case, folder_size, write

from serving.exporting.check import Served, check_saved_model, serialized_examples
from serving.exporting.folding import fold


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", CASES)
def test_folded_constants_are_the_network(name, dtype):
    model, reference, _, x = case(name, dtype=dtype)
    chain = fold(model)
    z = (x - chain.centre) @ chain.kernel + chain.shift
    arguments = CASES[name][1]
    hidden = pm.ACTIVATIONS[arguments.get("activation", "relu")](z)
    outputs, features = reference(x)
    np.testing.assert_allclose(hidden * chain.roots, features, rtol=0, atol=1e-13)
    assert pm.share(hidden @ chain.readout + chain.bias, outputs) < 1e-13


@pytest.mark.parametrize(("name", "dtype"), crossed(CASES, ["float32", "float64"], least=3))
def test_signatures_answer_what_the_network_computes(name, dtype, tmp_path):
    model, reference, card, x = case(name, dtype=dtype)
    network = write(model, card, tmp_path)
    assert check_saved_model(tmp_path, model, network, card) <= 1e-6
    outputs, features = reference(x)
    with Served(tmp_path) as served:
        answers = served("serving_default", x)
        assert pm.share(served("features", x)["features"], features) < 1e-6
        if card["task"] == "regression":
            # Of the spread, not of the offset: 454 would hide an error.
            assert pm.share(answers["outputs"] - 454.0, outputs - 454.0) < 3e-6
            regressed = served("regress", serialized_examples(x))["outputs"]
            np.testing.assert_array_equal(regressed, answers["outputs"])
            return
        assert pm.share(answers["scores"], outputs) < 1e-6
        np.testing.assert_array_equal(answers["classes"], outputs.argmax(axis=1))
        classified = served("classify", serialized_examples(x))
        np.testing.assert_array_equal(classified["scores"], answers["scores"])
        assert classified["classes"].tolist() == [[b"class 0", b"class 1", b"class 2"]] * len(x)
        if card["inputs"]["kind"] == "image":
            bytes_ = served("serving_uint8", x.astype("uint8"))
            np.testing.assert_array_equal(bytes_["scores"], answers["scores"])
            np.testing.assert_array_equal(bytes_["classes"], answers["classes"])
        else:
            assert "serving_uint8" not in served.signatures


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "image",
            {
                "serving_default": ("predict", "float32 float32 int64", "scores classes"),
                "serving_uint8": ("predict", "uint8 float32 int64", "scores classes"),
                "features": ("predict", "float32 float32", "features"),
                "classify": ("classify", "string float32 string", "scores classes"),
            },
        ),
        (
            "columns",
            {
                "serving_default": ("predict", "float32 float32", "outputs"),
                "features": ("predict", "float32 float32", "features"),
                "regress": ("regress", "string float32", "outputs"),
            },
        ),
    ],
)
@pytest.mark.parametrize("half", [False, True])
def test_signatures_have_names_types_shapes_and_methods(name, expected, half, tmp_path):
    model, _, card, _ = case(name)
    write(model, card, tmp_path, half=half)
    with Served(tmp_path) as served:
        assert served.signatures.keys() == expected.keys()
        for signature, (method, types, names) in expected.items():
            found = served.signatures[signature]
            assert found.method_name == f"tensorflow/serving/{method}"
            assert list(found.inputs) == ["inputs"]
            assert set(found.outputs) == set(names.split())
            tensors = [found.inputs["inputs"], *(found.outputs[n] for n in names.split())]
            assert [tf.dtypes.as_dtype(t.dtype).name for t in tensors] == types.split()
            dims = [d.size for d in found.inputs["inputs"].tensor_shape.dim]
            assert dims == ([-1] if types.startswith("string") else [-1, card["inputs"]["dim"]])


@pytest.fixture(scope="module")
def image_model(tmp_path_factory):
    """A served model of images."""
    folder = tmp_path_factory.mktemp("image")
    model, _, card, _ = case("image")
    write(model, card, folder)
    with Served(folder) as served:
        yield served


def run_unchecked(served, signature, inputs):
    """Feeds a placeholder of any shape: the model server checks no shape, a Session does."""
    definition = served.signatures[signature]
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        inlet = tf.compat.v1.placeholder(inputs.dtype, None)
        [outlet] = tf.import_graph_def(
            served.meta.graph_def,
            input_map={definition.inputs["inputs"].name: inlet},
            return_elements=[next(iter(definition.outputs.values())).name],
        )
        return session.run(outlet, {inlet: inputs})


@pytest.mark.parametrize("shape", [(12,), (2, 11), (2, 13), (24, 1), (2, 6, 2), ()])
@pytest.mark.parametrize("signature", ["serving_default", "serving_uint8", "features"])
def test_inputs_of_another_shape_are_refused_by_the_graph(signature, shape, image_model):
    inputs = np.zeros(shape, "uint8" if signature == "serving_uint8" else "float32")
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"not compatible with expected shape"):
        run_unchecked(image_model, signature, inputs)
    assert len(run_unchecked(image_model, signature, np.zeros((2, 12), inputs.dtype))) == 2


@pytest.mark.parametrize("wrong", ["few", "name", "type", "bytes"])
def test_examples_without_the_inputs_are_refused(wrong, image_model):
    Feature, Floats = tf.train.Feature, tf.train.FloatList
    features = {
        "few": {"inputs": Feature(float_list=Floats(value=[0.0] * 11))},
        "name": {"input": Feature(float_list=Floats(value=[0.0] * 12))},
        "type": {"inputs": Feature(int64_list=tf.train.Int64List(value=[0] * 12))},
        "bytes": None,
    }[wrong]
    example = b"no example"
    if features is not None:
        example = tf.train.Example(features=tf.train.Features(feature=features))
        example = example.SerializeToString()
    with pytest.raises(tf.errors.InvalidArgumentError):
        image_model("classify", np.array([example], object))


def test_batches_of_none_and_of_many_rows(image_model):
    assert image_model("serving_default", np.zeros((0, 12), "float32"))["scores"].shape == (0, 3)
    x = pm.raw_values("pixels", n=10_000)
    scores = image_model("serving_default", x)["scores"]
    one = image_model("serving_default", x[-1:])["scores"]
    assert pm.share(scores[-1:], one) < 1e-6


def test_not_a_number_stays_in_its_row(image_model):
    x = pm.raw_values("pixels", n=3)
    whole = image_model("serving_default", x)["scores"]
    x[1, 0] = np.nan
    scores = image_model("serving_default", x)["scores"]
    assert np.isnan(scores[1]).all()
    np.testing.assert_array_equal(scores[[0, 2]], whole[[0, 2]])


def test_tensorflow_and_keras_load_it_too(tmp_path):
    model, reference, card, x = case("columns")
    write(model, card, tmp_path)
    signature = tf.saved_model.load(tmp_path).signatures["serving_default"]
    layer = keras.layers.TFSMLayer(tmp_path, call_endpoint="serving_default")
    for answer in (signature(inputs=tf.constant(x)), layer(x)):
        assert pm.share(answer["outputs"].numpy(), reference(x)[0]) < 1e-6


def test_weights_are_stored_once_and_nothing_of_training(tmp_path):
    model = pm.packaged("pixels", dim=784, outputs=10, units=2000)[0]
    model.compile("adam", "mse")
    model.fit(np.zeros((1, 784)), np.zeros((1, 10)), verbose=0)
    small = pm.packaged("pixels", dim=784, outputs=10, units=100)[0]
    for units, network in ((2000, model), (100, small)):
        write(network, pm.card(dim=784, outputs=10), tmp_path / str(units))
        weights = 4 * units * (784 + 10 + 1)  # kernel, readout, roots
        assert weights < folder_size(tmp_path / str(units)) < weights + 40_000
    assert folder_size(tmp_path / "2000") > 15 * folder_size(tmp_path / "100")
    with Served(tmp_path / "2000") as served:
        assert not any("Var" in node.op for node in served.meta.graph_def.node)
