"""Model cards: what a version says of itself, and that its files are what it says."""

from __future__ import annotations

import json
import shutil
import subprocess

import packaged_models as pm
import pytest

from serving.card import check_card, portable_command, read_card, verify, write_card
from serving.readme import curl, metrics_table, render


def changed(path, value):
    """The card with another value at a path such as `inputs.dim`; None deletes it."""
    card = pm.card()
    *parts, last = path.split(".")
    inner = card
    for part in parts:
        inner = inner[part]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return card


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("python -m trainers.mnist --gamma 0", "python -m trainers.mnist --gamma 0"),
        ("a --out-dir /home/me/runs/mnist --resume", "a --out-dir mnist --resume"),
        ("a --out-dir=/home/me/runs/mnist", "a --out-dir=mnist"),
        ("a '/home/my runs/x y' runs/z", "a 'x y' runs/z"),
        ("a --pairs 0:0.4,1:0.4 --ratio=1/2", "a --pairs 0:0.4,1:0.4 --ratio=1/2"),
    ],
)
def test_commands_tell_no_folder_of_this_machine(command, told):
    assert portable_command(command) == told


@pytest.mark.parametrize("kind", ["pixels", "normalization", "none"])
def test_card_that_fits_passes(kind):
    card = pm.card(kind)
    assert check_card(card, dim=12, outputs=3) is card
    regression = pm.card("normalization", task="regression", outputs=1)
    assert check_card(regression, dim=12, outputs=1) is regression


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("name", None, "the card to have name, received none"),
        ("data.licence", None, "data to have licence"),
        ("inputs.kind", None, "inputs to have kind"),
        ("metrics", None, "the card to have metrics"),
        ("outputs", 3, "an object outputs, received 3"),
        ("name", "../elsewhere", "expected the name of a model"),
        ("task", "ranking", "task to be one of classification, regression, received 'ranking'"),
        ("task", "regression", "a regression of one output, received 3"),
        ("inputs.kind", "sound", "inputs.kind to be one of"),
        ("inputs.dim", 13, "inputs.dim 12, the model's, received 13"),
        ("outputs.classes", ["a", "b"], "the names of 3 classes, the model's outputs, received 2"),
        ("inputs.high", 1e6, r"inputs.low and inputs.high in 0..255"),
    ],
)
def test_card_that_does_not_fit_is_refused(path, value, message):
    with pytest.raises(ValueError, match=message):
        check_card(changed(path, value), dim=12, outputs=3)


@pytest.mark.parametrize("card", [None, [], "card"])
def test_what_is_no_card_is_refused(card):
    with pytest.raises(ValueError, match="card: expected a JSON object"):
        check_card(card, dim=12, outputs=3)


def test_metrics_stand_beside_each_other():
    card = pm.card()
    card["metrics"]["refit"] = {"test_risk": 0.123456, "test_accuracy": 0.9}
    assert metrics_table(card).splitlines() == [
        "| network | test accuracy | test risk |",
        "| --- | --- | --- |",
        "| all 40 nodes | 0.875 | 0.25 |",
        "| 8 nodes | 0.75 | 0.5 |",
        "| 8 nodes, readout refitted | 0.9 | 0.1235 |",
    ]
    for metrics in (card["metrics"]["full"], card["metrics"]["pruned"], card["metrics"]["refit"]):
        del metrics["test_accuracy"]
    assert metrics_table(card).startswith("| network | test risk |")
    assert metrics_table(pm.card(metrics={})) == ""


@pytest.mark.parametrize(
    ("kind", "task", "expected"),
    [
        ("pixels", "classification", ["serving_uint8", "pixels 0 to 255 of 6 x 2", "`classify`"]),
        ("normalization", "regression", ["power (MW)", "column 0; column 1", "`regress`"]),
        ("none", "classification", ["raw values", "class 0, class 1"]),
    ],
)
def test_readme_says_what_a_user_needs(kind, task, expected):
    text = render(pm.card(kind, task=task))
    facts = ["# small", "a small model", "CC0", "made up", "0123456789abcdef", "paper", "keras 3.1"]
    facts += ["gamma 0.2, alpha 0.5", "8 of 40", "python -m trainers.mnist", "14 training, 9 test"]
    for fact in facts + expected:
        assert fact in text
    assert ("serving_uint8" in text) == (kind == "pixels")
    assert render(pm.card(metrics={})).count("##") == text.count("##") - 1


@pytest.mark.parametrize("dim", [1, 2, 32, 33, 784])
@pytest.mark.parametrize("example", [False, True])
def test_curl_sends_one_row_that_fits(dim, example):
    if not shutil.which("sh"):
        pytest.skip("no shell")
    card = pm.card("none", dim=dim)
    values = [1013.25] + [-0.5] * (dim - 1)
    card["inputs"] |= {"example": values} if example else {}
    command = curl(card)
    assert "\n" not in command
    assert command.endswith(" http://localhost:8501/v1/models/small:predict")
    # The shell itself says what curl would be given.
    script = f'curl() {{ printf "%s\\n" "$1" "$2" "$3"; }}\n{command}'
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    flag, body, url = done.stdout.splitlines()
    assert (flag, url) == ("-d", "http://localhost:8501/v1/models/small:predict")
    expected = values if example and dim <= 32 else [0.0] * dim
    assert json.loads(body) == {"instances": [expected]}


@pytest.fixture
def version(tmp_path):
    """A version with a card."""
    (tmp_path / "variables").mkdir()
    (tmp_path / "saved_model.pb").write_bytes(b"graph")
    (tmp_path / "variables" / "data").write_bytes(b"weights")
    write_card(tmp_path, pm.card())
    return tmp_path


def test_card_is_written_and_verified(version):
    card = verify(version)
    sums = card.pop("files")
    assert card == pm.card()
    assert set(sums) == {"README.md", "saved_model.pb", "variables/data"}
    # echo -n graph | sha256sum
    assert sums["saved_model.pb"] == (
        "eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d"
    )
    assert (version / "README.md").read_text(encoding="utf-8") == render(pm.card())


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda v: flip(v / "saved_model.pb"), "saved_model.pb with other content"),
        (lambda v: flip(v / "README.md"), "README.md with other content"),
        (lambda v: (v / "saved_model.pb").write_bytes(b""), "saved_model.pb with other content"),
        (lambda v: (v / "variables" / "data").unlink(), "no file variables/data"),
        (lambda v: (v / "variables" / "more").touch(), "variables/more that is not in card.json"),
        (lambda v: (v / "card.json").write_text("{"), "card.json, which is no JSON"),
        (lambda v: (v / "card.json").write_text("[]"), "card.json without an object"),
        (lambda v: (v / "card.json").write_text("{}"), "without the sum of saved_model.pb"),
    ],
)
def test_damage_is_found_and_named(damage, message, version):
    damage(version)
    with pytest.raises(ValueError, match=message):
        verify(version)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside"])
def test_card_that_names_files_elsewhere_is_refused(name, version):
    card = read_card(version)
    card["files"][name] = "0" * 64
    (version / "card.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="which lies elsewhere"):
        verify(version)


def test_folder_without_a_card_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"Name a version that `python -m serving.export`"):
        verify(tmp_path)


def test_numbers_that_json_does_not_have_are_refused(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_card(tmp_path, pm.card(gamma=float("nan")))
