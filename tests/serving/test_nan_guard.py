"""A row with NaN is answered by NaN, whatever kernels TensorFlow fuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import packaged_models as pm
import pytest
import tensorflow as tf
from crossed import some_slow
from packaged_models import CASES, case, write

from serving.exporting import saved_model
from serving.exporting.check import Served, check_saved_model, serialized_examples
from serving.exporting.nan_guard import keep_not_a_number
from serving.sessions import SavedModelSession

NAN = np.float32(np.nan)
ROOT = Path(__file__).resolve().parents[2]


def relu_columns():
    """Columns, a shift from their means, and ReLU: what TensorFlow fuses into one kernel."""
    model, _ = pm.packaged(
        "two rescalings", dim=4, outputs=1, units=16, refit=True, target=(17.1, 454.0)
    )
    return model, pm.card("two rescalings", dim=4, outputs=1, task="regression")


def with_bad_rows(x):
    """Rows with one cell NaN, each in another column; all NaN; and numbers too large to hold."""
    bad = np.repeat(x[:1], x.shape[1] + 2, axis=0)
    np.fill_diagonal(bad, NAN)
    bad[-2], bad[-1] = NAN, np.inf
    return bad


@pytest.mark.parametrize("half", some_slow([False], [True]))
def test_not_a_number_is_answered_by_not_a_number(half, tmp_path):
    model, card = relu_columns()
    x = pm.raw_values("two rescalings", 4)
    bad = with_bad_rows(x)
    network = write(model, card, tmp_path, half=half)
    with Served(tmp_path) as served:
        for signature, rows in [
            *[("serving_default", rows) for rows in (bad, np.repeat(bad, 100, axis=0))],
            ("regress", serialized_examples(bad)),
        ]:
            assert np.isnan(served(signature, rows)["outputs"]).all()
        assert np.isnan(served("features", bad)["features"]).any(axis=1).all()
        mixed = np.concatenate([bad, x])
        outputs = served("serving_default", mixed)["outputs"]
        alone = served("serving_default", x)["outputs"]
    assert np.isfinite(alone).all()
    np.testing.assert_array_equal(outputs[len(bad) :], alone)
    check_saved_model(tmp_path, model, network, card, half=half)


def test_without_the_guard_the_check_refuses(tmp_path, monkeypatch):
    monkeypatch.setattr(saved_model, "keep_not_a_number", lambda folder: 0)
    model, card = relu_columns()
    network = write(model, card, tmp_path)
    with Served(tmp_path) as served:
        fused = served("serving_default", np.full((1, 4), NAN))["outputs"]
    if np.isnan(fused).all():
        pytest.skip("TensorFlow on this machine does not fuse the sum and the ReLU")
    with pytest.raises(ValueError, match=r"inputs with NaN or infinity.*No version was made"):
        check_saved_model(tmp_path, model, network, card)


@pytest.mark.parametrize(
    "name", some_slow(["image"], [n for n in CASES if n != "image" and "columns" not in n])
)
def test_class_of_not_a_number_is_none(name, tmp_path):
    model, _, card, x = case(name)
    write(model, card, tmp_path)
    with Served(tmp_path) as served:
        answers = served("serving_default", with_bad_rows(x))
    nan = np.isnan(answers["scores"]).any(axis=1)
    assert nan[:-1].all()
    assert (answers["classes"][nan] == -1).all()
    assert (answers["classes"][~nan] >= 0).all()


class Kinds(tf.Module):
    """Functions within functions, loops, and kernels that TensorFlow fuses or fails to fuse."""

    kernel = np.eye(4, dtype="float32")

    @tf.function(input_signature=[tf.TensorSpec((None, 4), tf.float32, name="x")])
    def __call__(self, x):
        def total(x):
            return x @ self.kernel + tf.ones(4)

        @tf.function
        def inner(x):
            return tf.nn.relu6(total(x))

        def step(count, x):
            return count + 1, tf.nn.relu(total(x)) - 1.0

        normalised = tf.compat.v1.nn.fused_batch_norm(
            tf.nn.conv2d(tf.reshape(x, (-1, 2, 2, 1)), np.ones((1, 1, 1, 3), "float32"), 1, "SAME"),
            *(np.ones(3, "float32") for _ in range(4)),
            is_training=False,
        )[0]
        return {
            "inner": inner(x),
            "loop": tf.while_loop(lambda count, _: count < 2, step, (0, x))[1],
            "leaky": tf.nn.leaky_relu(normalised),
            "tanh": tf.tanh(tf.identity(normalised)),
            "pool": tf.nn.max_pool1d(x[:, :, None], 2, 2, "SAME")[..., 0],
            "cube": tf.nn.max_pool3d(tf.reshape(x, (-1, 2, 2, 1, 1)), (2, 1, 1), 2, "VALID"),
            "whole": tf.nn.relu(tf.cast(tf.zeros_like(x), tf.int32)),
        }


def test_every_kind_of_graph_is_guarded(tmp_path):
    """Batch normalisation with tanh does not even run without it: no such fused kernel."""
    module = Kinds()
    tf.saved_model.save(module, tmp_path, signatures=module.__call__)
    assert keep_not_a_number(tmp_path) >= 6
    x = np.array([[1, NAN, -3, 4], [-1, 2, -3, 4]], "float32")
    with SavedModelSession(tmp_path) as session:
        signature = session.meta.signature_def["serving_default"]
        fetch = {name: tensor.name for name, tensor in signature.outputs.items()}
        answers = session.run(fetch, {signature.inputs["x"].name: x})
    np.testing.assert_array_equal(answers["inner"], [[NAN] * 4, [0, 3, 0, 5]])
    np.testing.assert_array_equal(answers["loop"], [[NAN] * 4, [-1, 2, -1, 4]])
    np.testing.assert_array_equal(answers["pool"], [[NAN, 4], [2, 4]])
    np.testing.assert_array_equal(answers["cube"].ravel(), [1, -1])
    normal = (x.reshape(2, 2, 2, 1).repeat(3, -1) - 1) / np.sqrt(1.001) + 1
    np.testing.assert_allclose(answers["tanh"], np.tanh(normal), rtol=1e-6)
    leaky = np.where(normal < 0, 0.2 * normal, normal)
    np.testing.assert_allclose(answers["leaky"], leaky, rtol=1e-6)


@pytest.mark.slow
def test_every_model_of_the_zoo_answers_nan():
    """One cell of any column, all of them, an infinity: what the Keras presets answer NaN to."""
    found = sorted((ROOT / "saved_models").glob("*/1/"))
    assert len(found) >= 21
    for folder in found:
        with Served(folder) as served:
            dim = served.signatures["serving_default"].inputs["inputs"].tensor_shape.dim[1].size
            rows = np.full((min(dim, 8) + 1, dim), 100.0, "float32")
            np.fill_diagonal(rows[:-1], NAN)
            rows[-1] = NAN
            answers = served("serving_default", rows)
        for name, values in answers.items():
            wrong = values != -1 if name == "classes" else ~np.isnan(values)
            assert not wrong.any(), (folder, name)
