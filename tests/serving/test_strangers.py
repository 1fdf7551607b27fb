"""Four models of other people, from their .keras files to answers over REST and gRPC."""

from __future__ import annotations

import importlib.util
import json
import sys

import httpx
import keras
import numpy as np
import pytest
import serving_models
import stranger_models
import tensorflow as tf
from crossed import crossed

from benchmarks.load.measure import random_inputs
from serving import export
from serving.card import verify
from serving.client import connect
from serving.client.__main__ import main as client_main
from serving.exporting.check import Served

NAMES = ("images", "text", "tabular", "gate")
OUTPUTS = {"images": "animal", "text": "score", "tabular": "outputs", "gate": None}
LABELS = ["cat", "dog", "cow", "owl"]


def answers_of(model, rows):
    """What the Keras model says, by output name."""
    tensors = {name: tf.constant(array) for name, array in rows.items()}
    inputs = tensors if len(tensors) > 1 else next(iter(tensors.values()))
    if isinstance(getattr(model, "input", None), list):
        inputs = list(tensors.values())
    return keras.tree.map_structure(lambda t: t.numpy(), model(inputs, training=False))


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Files, models and a preview of all four; each was exported by one command."""
    folder = tmp_path_factory.mktemp("strangers")
    code = folder / "stranger_gate.py"
    code.write_text(stranger_models.CODE)
    (folder / "labels.txt").write_text("\n".join(LABELS) + "\n")
    spec = importlib.util.spec_from_file_location("stranger_gate", code)
    module = sys.modules["stranger_gate"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    models = {name: getattr(stranger_models, name)() for name in NAMES[:3]}
    models["gate"] = stranger_models.gate(module)
    more = {
        "images": ["--labels", str(folder / "labels.txt"), "--card", "licence=CC0"],
        "gate": ["--import", str(code)],
    }
    for name, model in models.items():
        model.save(folder / f"{name}.keras")
        np.savez(folder / f"{name}.npz", **stranger_models.rows(name))
        argv = [str(folder / f"{name}.keras"), "--to", str(folder / "models"), *more.get(name, [])]
        export.main(argv)
    with serving_models.running_preview(folder / "models") as server:
        yield folder, models, server


@pytest.mark.parametrize(("name", "protocol"), crossed(NAMES, ["rest", "grpc"]))
def test_the_second_command_asks_it(name, protocol, served, tmp_path):
    folder, models, server = served
    url = server.rest if protocol == "rest" else f"grpc://{server.grpc}"
    rows, written = str(folder / f"{name}.npz"), tmp_path / "answers.npz"
    argv = ["predict", "--model", name, "--url", url, "--input", rows, "--output", str(written)]
    assert client_main(argv) == 0
    expected = answers_of(models[name], stranger_models.rows(name))
    expected = expected if isinstance(expected, dict) else {OUTPUTS[name]: expected}
    answers = dict(np.load(written))
    assert answers.keys() == expected.keys()
    for output, wanted in expected.items():
        np.testing.assert_allclose(answers[output], wanted, rtol=1e-5, atol=1e-6)


def test_a_table_names_the_inputs(served, tmp_path, capsys):
    """Integers and floats of two inputs, and text, from CSV files; a column that is no input."""
    _, models, server = served
    table = tmp_path / "rows.csv"
    table.write_text("target,size_1,count,size_0\n9,101.5,3,1.25\n8,97,0,-1\n")
    argv = ["predict", "--url", server.rest, "--input", str(table), "--model"]
    assert client_main([*argv, "tabular"]) == 0
    got = json.loads(capsys.readouterr().out)["outputs"]
    size = np.array([[1.25, 101.5], [-1, 97]], "float32")
    wanted = answers_of(models["tabular"], {"count": np.array([3, 0], "int32"), "size": size})
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    table.write_text('words_0,words_1,words_2\ngood,"a, b",food\n')
    assert client_main([*argv, "text"]) == 0
    got = json.loads(capsys.readouterr().out)["score"]
    wanted = answers_of(models["text"], {"words": np.array([["good", "a, b", "food"]])})
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    for text, message in [
        ("size_0,count\n1,2\n", "size_0, size_1, each once; missing or repeated: ['size_1']"),
        ("size_0,size_1,count\n1,2,x\n", "'x' in line 2"),
        ("size_0,size_1,count\n1,2\n", "2 cells in line 2, under 3 names"),
        ("size_0,size_1,count\n", "no row below its names"),
        ("size_0,size_1,count\n1,2,2.5\n", "expected int32"),
    ]:
        table.write_text(text)
        assert client_main([*argv, "tabular"]) == 1
        assert message in capsys.readouterr().err


def test_a_colour_image_is_scaled_to_the_model(served, tmp_path, capsys):
    image = pytest.importorskip("PIL.Image")
    _, models, server = served
    pixels = stranger_models.rows("images")["image"][0].astype("uint8")
    image.fromarray(pixels).save(tmp_path / "cat.png")
    argv = ["predict", "--url", server.rest, "--input", str(tmp_path / "cat.png")]
    assert client_main([*argv, "--model", "images"]) == 0
    got = json.loads(capsys.readouterr().out)["animal"]
    wanted = answers_of(models["images"], {"image": pixels[None].astype("float32")})
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_rows_of_json_are_what_a_stranger_writes(served):
    _, models, server = served
    rows = [{"count": 3, "size": [1.5, 99]}, {"count": 0, "size": [0, 101.25]}]
    answer = httpx.post(
        f"{server.rest}/v1/models/tabular:predict", content=json.dumps({"instances": rows})
    )
    arrays = {"count": np.array([3, 0], "int32"), "size": np.array([[1.5, 99], [0, 101.25]], "f4")}
    wanted = answers_of(models["tabular"], arrays)
    np.testing.assert_allclose(answer.json()["predictions"], wanted, rtol=1e-5)


def test_classify_and_regress_by_the_names_of_the_inputs(served):
    _, models, server = served
    with connect(server.rest, model="text") as client:
        [row] = client.classify([{"words": ["good", "food", "elsewhere"]}])
    words = {"words": np.array([["good", "food", "elsewhere"]])}
    wanted = answers_of(models["text"], words)[0]
    assert [label for label, _ in row] == ["0", "1"]
    np.testing.assert_allclose([score for _, score in row], wanted, rtol=1e-5)
    with connect(f"grpc://{server.grpc}", model="images") as client:
        image = stranger_models.rows("images")["image"][:1]
        [row] = client.classify([{"image": image.ravel()}])
        assert [label for label, _ in row] == LABELS
        np.testing.assert_allclose(
            [score for _, score in row],
            answers_of(models["images"], {"image": image})[0],
            rtol=1e-5,
        )
    with connect(f"grpc://{server.grpc}", model="tabular") as client:
        got = client.regress([{"count": 9, "size": [2.0, 90.0]}])
    rows = {"count": np.array([9], "int32"), "size": np.array([[2, 90]], "float32")}
    np.testing.assert_allclose(got, answers_of(models["tabular"], rows)[:, 0], rtol=1e-5)


def test_signatures_have_the_models_names(served):
    *_, server = served
    found = {}
    for name in NAMES:
        with connect(server.rest, model=name) as client:
            found[name] = client.metadata()["signatures"]
    assert {n: sorted(s) for n, s in found.items()} == {
        "images": ["classify", "serving_default"],
        "text": ["classify", "serving_default"],
        "tabular": ["regress", "serving_default"],
        "gate": ["serving_default"],
    }
    inputs = {n: s["serving_default"]["inputs"] for n, s in found.items()}
    assert inputs["images"] == {"image": {"dtype": "float32", "shape": [None, 8, 8, 3]}}
    assert inputs["text"] == {"words": {"dtype": "string", "shape": [None, 3]}}
    assert inputs["tabular"]["count"] == {"dtype": "int32", "shape": [None]}
    assert sorted(found["gate"]["serving_default"]["outputs"]) == ["gate", "product"]


def test_bench_finds_rows_for_them(served):
    *_, server = served
    for name in NAMES:
        with connect(f"grpc://{server.grpc}", model=name) as client:
            signature = client.signature()
            client.predict(random_inputs(signature, 3, np.random.default_rng(0)))


def test_card_says_what_is_known(served):
    folder, models, _ = served
    card = verify(folder / "models" / "images" / "1")
    assert card["licence"] == "CC0"
    assert card["labels"] == LABELS
    assert card["sizes"]["saved_model.pb"] > 1000
    assert card["sizes"].keys() == card["files"].keys() - {"README.md"}
    assert card["model"]["parameters"] == models["images"].count_params()
    assert card["inputs"]["image"] == {"dtype": "float32", "shape": [None, 8, 8, 3]}
    assert card["outputs"] == {"animal": {"dtype": "float32", "shape": [None, 4]}}
    assert card["export"]["largest_difference"] < 1e-5
    text = (folder / "models" / "tabular" / "1" / "README.md").read_text()
    assert '\'{"instances": [{"count": 0, "size": [0.0, 0.0]}]}\'' in text
    assert "| input | `count` | int32 | (n) |" in text


def test_nan_in_nan_out(served):
    folder, *_ = served
    image = np.zeros((2, 8, 8, 3), "float32")
    image[1, 4, 4] = np.nan
    with Served(folder / "models" / "images" / "1") as version:
        scores = version("serving_default", {"image": image})["animal"]
    assert np.isfinite(scores[0]).all()
    assert np.isnan(scores[1]).all()


def test_an_image_of_another_shape_is_refused_by_the_graph(served):
    """Through a placeholder of any shape, as the model server feeds it: it compares no shapes."""
    folder, *_ = served
    with Served(folder / "models" / "images" / "1") as version:
        definition = version.signatures["serving_default"]
        with version._session.graph.as_default():  # where the variables are
            inlet = tf.compat.v1.placeholder("float32", None)
            [outlet] = tf.import_graph_def(
                version.meta.graph_def,
                input_map={definition.inputs["image"].name: inlet},
                return_elements=[next(iter(definition.outputs.values())).name],
            )
        for shape in ((1, 8, 8), (1, 8), (1, 2, 8, 8, 3), (1, 8, 9, 3)):
            with pytest.raises(tf.errors.InvalidArgumentError, match="expected shape"):
                version.run(outlet, {inlet: np.zeros(shape, "float32")})
        assert version.run(outlet, {inlet: np.zeros((2, 8, 8, 3), "float32")}).shape == (2, 4)
