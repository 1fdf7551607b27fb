"""`python -m serving.client`: what it reads, writes, prints and refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from client_grpc_server import grpc_server
from client_servers import WEIGHTS, Model, rest_server

from serving.client.__main__ import main
from serving.client.inputs import read_inputs
from serving.client.signatures import Signature, TensorSpec

ROOT = Path(__file__).resolve().parents[2]
X = np.array([[1.5, 0, -2, 255], [9, 8, 7, 6]])
SCORES = X.astype(np.float32) @ WEIGHTS


@pytest.fixture
def model():
    return Model()


@pytest.fixture(params=["http", "grpc"])
def url(request, model):
    server = rest_server if request.param == "http" else grpc_server
    with server(model) as port:
        yield f"{request.param}://127.0.0.1:{port}"


def takes(*shape: int | None, dtype: str = "float32") -> Signature:
    return Signature({"inputs": TensorSpec(dtype, shape)}, {}, "")


def test_predict_prints_json(url, tmp_path, capsys):
    np.save(tmp_path / "x.npy", X)
    assert main(["predict", "--url", url, "--model", "m", "--input", str(tmp_path / "x.npy")]) == 0
    answer = json.loads(capsys.readouterr().out)
    np.testing.assert_array_equal(np.array(answer["scores"], np.float32), SCORES)
    assert answer["classes"] == SCORES.argmax(axis=1).tolist()


def test_predict_writes_npz_and_json(url, model, tmp_path, capsys):
    table = tmp_path / "x.csv"
    table.write_text("a,b,c,d\n" + "\n".join(",".join(map(str, row)) for row in X))
    flags = ["predict", "--url", url, "--model", "m", "--input", str(table), "--batch-size", "1"]
    assert main([*flags, "--output", str(tmp_path / "y.npz")]) == 0
    assert main([*flags, "--output", str(tmp_path / "y.json")]) == 0
    assert len(model.calls("predict")) == 4
    with np.load(tmp_path / "y.npz") as saved:
        assert set(saved) == {"scores", "classes"}
        np.testing.assert_array_equal(saved["scores"], SCORES)
        assert saved["classes"].dtype == np.int64
    written = json.loads((tmp_path / "y.json").read_text())
    np.testing.assert_array_equal(np.array(written["scores"], np.float32), SCORES)
    said = capsys.readouterr()
    assert said.out == ""
    assert "classes int64 (2,), scores float32 (2, 3) -> " in said.err


def test_predict_an_image(url, model, tmp_path, capsys):
    from PIL import Image

    Image.fromarray(np.array([[0, 10], [200, 255]], np.uint8)).save(tmp_path / "x.png")
    flags = ["predict", "--url", url, "--model", "m", "--input", str(tmp_path / "x.png")]
    assert main([*flags, "--invert", "--signature", "serving_uint8"]) == 0
    answer = json.loads(capsys.readouterr().out)
    inverted = np.array([[255, 245, 55, 0]], np.float32)
    np.testing.assert_array_equal(np.array(answer["features"], np.float32), inverted @ WEIGHTS)


def test_predict_several_inputs(url, tmp_path, capsys):
    np.savez(tmp_path / "x.npz", a=X, b=-X)
    flags = ["predict", "--url", url, "--model", "m", "--signature", "two", "--input"]
    assert main([*flags, str(tmp_path / "x.npz")]) == 0
    assert json.loads(capsys.readouterr().out) == {"features": [[0, 0, 0], [0, 0, 0]]}
    np.save(tmp_path / "x.npy", X)
    assert main([*flags, str(tmp_path / "x.npy")]) == 1
    assert "expected one .npz with the arrays a, b" in capsys.readouterr().err


def test_status_and_metadata(url, capsys):
    assert main(["status", "--url", url, "--model", "m"]) == 0
    line = {"version": 7, "state": "AVAILABLE", "code": "OK", "message": ""}
    assert json.loads(capsys.readouterr().out) == line
    assert main(["metadata", "--url", url, "--model", "m"]) == 0
    metadata = json.loads(capsys.readouterr().out)
    assert metadata["signatures"]["serving_uint8"]["inputs"]["inputs"]["dtype"] == "uint8"


@pytest.mark.slow
def test_bench_finds_its_program_beside_the_package(url, tmp_path, monkeypatch, capfd):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").write_text("raise RuntimeError('somebody else')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    flags = ["bench", "--url", url, "--models", "m", "--clients", "2", "--quiet"]
    flags += ["--duration", "0.1", "--warmup", "0", "--rounds", "1"]
    assert main([*flags, "--output", "b.json"]) == 0
    out = capfd.readouterr().out
    assert "closed loop, 2 clients, batch 1, 1 x 0.1 s" in out
    assert out.splitlines()[2].split()[0] == "model"
    (row,) = json.loads((tmp_path / "b.json").read_text())["results"]
    assert row["requests"] > 0
    assert row["errors"] == 0
    assert main(["bench", "--url", url, "--models", "m,m"]) == 1
    assert capfd.readouterr().err == "error: --models: expected different names, received m,m\n"


def test_token_comes_from_the_environment_and_stays_hidden(
    url, model, monkeypatch, capsys, tmp_path
):
    monkeypatch.setenv("ASYM_KERAS_TOKEN", "s3cret")
    flags = ["status", "--url", url, "--model", "m", "--header", "X-Team: blue"]
    assert main(flags) == 0
    ((_, headers, _),) = model.requests
    lower = {name.lower(): value for name, value in headers.items()}
    assert lower["authorization"] == "Bearer s3cret"
    assert lower["x-team"] == "blue"
    assert main([*flags, "--token", "other"]) == 0
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    said = capsys.readouterr()
    assert "s3cret" not in said.out + said.err


def test_status_of_a_label_is_that_of_its_version(url, model, capsys):
    assert main(["status", "--url", url, "--model", "m", "--label", "stable"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 7
    assert [call for call, *_ in model.requests] == ["metadata", "status"]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            ["predict", "--input", "no/such.npy"],
            f"expected a file, received {Path('no/such.npy').absolute()}, which",
        ),
        (["predict", "--input", __file__], "expected .npy, .npz, .csv or an image"),
        (["predict", "--input", "a.npy", "--output", "a.txt"], "ends in .npz or .json"),
        (["predict", "--input", "a.npy", "--output", "no/such/a.npz"], "an existing folder"),
        (["predict", "--input", "a.npy", "--signature", "nope"], "FAILED_PRECONDITION"),
        (["status", "--version", "8"], "NOT_FOUND"),
        (["status", "--label", "nosuch"], "Unrecognized servable version label: nosuch"),
        (["status", "--header", "s3cret"], "expected NAME:VALUE"),
        (["status", "--timeout", "0"], "positive number of seconds"),
    ],
)
def test_errors_are_one_line_and_status_1(url, capsys, flags, text):
    assert main([*flags, "--url", url, "--model", "m"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert text in error
    assert error.count("\n") == 1
    assert "s3cret" not in error


@pytest.mark.parametrize(
    ("module", "words"), [("serving.client", ["predict"]), ("benchmarks.load", [])]
)
def test_help_loads_nothing_heavy(module, words):
    words = [*words, "--help"]
    code = f"import sys, runpy; sys.argv[1:] = {words}\ntry: runpy.run_module(" + (
        f"'{module}', run_name='__main__')\nfinally: print(sorted({{n.split('.')[0] for n in "
        "sys.modules} & {'tensorflow', 'grpc', 'httpx', 'aiohttp', 'PIL', 'tqdm', 'numpy'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "ASYM_KERAS_TOKEN": "s3cret"},
    )
    assert done.stdout.splitlines()[-1] == "[]", done.stderr
    assert "--header" in done.stdout
    assert "s3cret" not in done.stdout


@pytest.mark.parametrize("shape", [(784,), (28, 28), (28, 28, 1)])
def test_images_are_grey_and_of_the_models_size(tmp_path, shape):
    from PIL import Image

    # The left half red, the right half see-through black: paper.
    pixels = np.zeros((56, 112, 4), np.uint8)
    pixels[:, :56] = 255, 0, 0, 255
    Image.fromarray(pixels).save(tmp_path / "x.png")
    rows = read_inputs([tmp_path / "x.png"] * 2, takes(None, *shape))
    assert rows.shape == (2, *shape)
    grey = rows[0].reshape(28, 28)
    assert (grey[:, :13] == 76).all()  # 0.299 * 255, ITU-R 601
    assert (grey[:, 15:] == 255).all()
    inverted = read_inputs([tmp_path / "x.png"], takes(None, *shape), invert=True)
    np.testing.assert_array_equal(inverted[0], 255 - rows[0])


@pytest.mark.parametrize("shape", [(13,), (28, 28, 4), (None,)])
def test_model_of_no_images_says_so(tmp_path, shape):
    from PIL import Image

    Image.new("L", (2, 2)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match="expected a model of images"):
        read_inputs([tmp_path / "x.png"], takes(None, *shape))


def test_files_that_cannot_be_read(tmp_path):
    for name in ("x.png", "x.npy", "x.npz"):
        (tmp_path / name).write_bytes(b"nonsense")
        with pytest.raises(ValueError, match="cannot be read"):
            read_inputs([tmp_path / name], takes(None, 4))
    np.save(tmp_path / "objects.npy", np.array([{}], object))
    with pytest.raises(ValueError, match="cannot be read"):
        read_inputs([tmp_path / "objects.npy"], takes(None, 4))
    for text in ("1,2\n3\n", "1,2\na,b\n"):
        (tmp_path / "x.csv").write_text(text)
        with pytest.raises(ValueError, match="equally many numbers"):
            read_inputs([tmp_path / "x.csv"], takes(None, 2))
    (tmp_path / "x.csv").write_text("a,b\n")
    with pytest.raises(ValueError, match="has none"):
        read_inputs([tmp_path / "x.csv"], takes(None, 2))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("1,2\n2024_01,3\n", "'2024_01' in line 2"),
        ("1,2\n\n３,4\n", "'３' in line 3"),
        ("1,2\n,\n3,4\n", "'' in line 2"),  # no row is left out: answers go by row
        ('1,2\n"3,4\n5,6\n', "a quote in line 2 without its end"),
    ],
)
def test_a_table_that_is_damaged_is_told_with_its_line(tmp_path, monkeypatch, text, fault):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "x.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"numbers, received {tmp_path}/x.csv, .*{fault}"):
        read_inputs(["~/x.csv"], takes(None, 2))


def test_files_stand_below_one_another(tmp_path):
    (tmp_path / "x.csv").write_text("﻿1,2\n3,nan\n")
    np.save(tmp_path / "one.npy", np.array([5.0, 6]))  # a single example
    rows = read_inputs([tmp_path / "x.csv", tmp_path / "one.npy"], takes(None, 2))
    np.testing.assert_array_equal(rows, [[1, 2], [3, np.nan], [5, 6]])
    np.save(tmp_path / "wide.npy", np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"\(2,\), \(3,\)"):
        read_inputs([tmp_path / "x.csv", tmp_path / "wide.npy"], takes(None, 2))


@pytest.mark.parametrize(
    "bad", ["NA", "", "?", '"0,765"', "1 000", "0.765x", "-", "n/a", "#N/A", "2024_01"]
)
def test_a_bad_cell_in_the_first_row_makes_it_no_header(tmp_path, bad):
    for columns in (1, 3):  # alone in its line it looks like a name
        text = ",".join([bad, *["671.5"] * (columns - 1)]) + "\n" + "1,2,3\n"[-2 * columns :]
        (tmp_path / "x.csv").write_text(text if bad or columns > 1 else f'""{text}')
        if bad == "" and columns == 1:
            continue  # a blank line, which holds no row
        with pytest.raises(ValueError, match=r"x\.csv, .*in line 1"):
            read_inputs([tmp_path / "x.csv"], takes(None, columns))


@pytest.mark.parametrize("names", ["a,b", "x1,2nd", "1st,value", "name,", '"a b",NA'])
def test_a_line_with_a_name_and_no_number_is_a_header(tmp_path, names):
    (tmp_path / "x.csv").write_text(f"{names}\n3,4\n")
    np.testing.assert_array_equal(read_inputs([tmp_path / "x.csv"], takes(None, 2)), [[3, 4]])


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_an_image_is_read_as_it_is_seen(tmp_path, suffix):
    from PIL import Image, ImageOps

    seen = np.zeros((28, 28), np.uint8)
    seen[2:6, 3:20], seen[6:25, 16:20] = 255, 255  # a seven
    upright = Image.fromarray(seen)
    upright.save(tmp_path / f"1.{suffix}", quality=95)
    expected = read_inputs([tmp_path / f"1.{suffix}"], takes(None, 28, 28)).astype(int)
    for orientation in range(2, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        # What lies in the file is what the viewer's turn makes upright.
        inverse = {6: 8, 8: 6}.get(orientation, orientation)
        back = Image.Exif()
        back[0x0112] = inverse
        stored = upright.copy()
        stored.info["exif"] = back.tobytes()
        stored = ImageOps.exif_transpose(stored)
        file = tmp_path / f"{orientation}.{suffix}"
        Image.fromarray(np.asarray(stored)).save(file, exif=exif, quality=95)
        assert (np.asarray(stored) != seen).any()
        rows = read_inputs([file], takes(None, 28, 28)).astype(int)
        assert abs(rows - expected).max() < 80, orientation
