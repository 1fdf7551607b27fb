"""The zoo's gallery: what its tables say of the cards, where they stand, and its figure."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from trainers import zoo_gallery
from trainers.zoo import figure as zoo_figure
from trainers.zoo import nested as zoo_nested
from trainers.zoo import page as zoo_page
from trainers.zoo.config import PRESETS

ROOT = Path(__file__).resolve().parents[2]
PAGE = f"# Zoo\n\nAbove.\n\n{zoo_page.BEGIN}\nold\n{zoo_page.END}\n\nBelow.\n"


def write_preset(folder, task, kept, *, size, refit=True, **changes):
    """A card, beside it a file of `size` bytes; numbers that tell which is which."""
    classes = ["a", "b", "c"] if task == "mnist" else None
    values = {"full": 0.9125, "pruned": 0.5 + kept / 1000, "refit": 0.75 + kept / 1000}
    metrics = {kind: {"test_risk": value / 3} for kind, value in values.items()}
    if classes:
        for kind, value in values.items():
            metrics[kind]["test_accuracy"] = value
    if not refit:
        del metrics["refit"]
    card = {
        "name": f"{task}_gamma0_k{kept}",
        "task": "classification" if classes else "regression",
        "inputs": {"dim": 10},
        "outputs": {"classes": classes},
        **{"gamma": 0.0, "alpha": 0.4, "width": 2000, "kept": kept, "refit": refit},
        "data": {"name": task, "licence": f"licence of {task}", "examples": [5000, 300]},
        "metrics": {**metrics, "units": f"units of {task}"},
        **changes,
    }
    (folder / f"{card['name']}.json").write_text(json.dumps(card), encoding="utf-8")
    (folder / f"{card['name']}.keras").write_bytes(bytes(size))
    return folder / f"{card['name']}.json"


@pytest.fixture
def presets(tmp_path):
    folder = tmp_path / "presets"
    folder.mkdir()
    write_preset(folder, "mnist", 100, size=345_600)
    write_preset(folder, "mnist", 20, size=80_000, refit=False)
    write_preset(folder, "concrete", 50, size=21_000)
    return folder


@pytest.fixture
def argv(tmp_path, presets):
    page = tmp_path / "zoo.md"
    page.write_text(PAGE, encoding="utf-8")
    figure = str(tmp_path / "zoo.png")
    return ["--page", str(page), "--figure", figure, "--presets-dir", str(presets)]


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_tables_say_what_the_cards_say(presets):
    text = zoo_page.tables(zoo_page.read_entries(presets))
    rows = rows_of(text)
    # In the zoo's order of tasks, then by nodes. Whole: 4 bytes * 2000 nodes * (10 + K).
    assert [" ".join(row) for row in rows[2:5]] == [
        "`concrete_gamma0_k50` 50 0, 0.4 refitted   0.267 0.304 21 88",
        "`mnist_gamma0_k20` 20 0, 0.4 as trained 0.5200 0.9125 0.173 0.304 80 104",
        "`mnist_gamma0_k100` 100 0, 0.4 refitted 0.8500 0.9125 0.283 0.304 346 104",
    ]
    assert rows[7:] == [
        ["concrete", "5,000 + 300", "units of concrete", "licence of concrete", "21"],
        ["mnist", "5,000 + 300", "units of mnist", "licence of mnist", "426"],
    ]
    assert len({len(row) for row in rows[:5]}) == len({len(row) for row in rows[5:]}) == 1


def test_tasks_that_the_zoo_does_not_know_come_last(presets):
    write_preset(presets, "airports", 5, size=1)
    assert list(zoo_page.by_task(zoo_page.read_entries(presets))) == [
        *("concrete", "mnist", "airports")
    ]


def test_gallery_replaces_what_is_between_the_marks(argv, tmp_path, presets, capsys):
    zoo_gallery.main(argv)
    tables = zoo_page.tables(zoo_page.read_entries(presets))
    page = (tmp_path / "zoo.md").read_text(encoding="utf-8")
    assert page == PAGE.replace("\nold\n", f"\n\n{tables}\n\n")
    assert (tmp_path / "zoo.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert capsys.readouterr().out.endswith("3 presets, 0.45 MB\n")
    zoo_gallery.main(argv)
    assert (tmp_path / "zoo.md").read_text(encoding="utf-8") == page


def test_check_writes_nothing_and_tells_of_other_tables(argv, tmp_path, presets, capsys):
    with pytest.raises(SystemExit) as caught:
        zoo_gallery.main([*argv, "--check"])
    assert caught.value.code == 1
    assert "to be those of the presets, received others" in capsys.readouterr().err
    assert (tmp_path / "zoo.md").read_text(encoding="utf-8") == PAGE
    assert not (tmp_path / "zoo.png").exists()
    zoo_gallery.main(argv)
    zoo_gallery.main([*argv, "--check"])
    (presets / "mnist_gamma0_k20.keras").write_bytes(bytes(70_000))
    with pytest.raises(SystemExit):
        zoo_gallery.main([*argv, "--check"])


def test_figure_has_a_panel_a_task_with_accuracy_or_risk_over_size(presets, tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    drawn = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, *_, **__: drawn.append(figure))
    whole = "asym_keras.plotting.saving.atomic_path"
    monkeypatch.setattr(whole, lambda path: open(tmp_path / "f", "w"))
    zoo_figure.draw(zoo_page.read_entries(presets), tmp_path / "f.png")
    [figure] = drawn
    panels = {axis.get_title(): axis for axis in figure.axes}
    assert list(panels) == ["concrete", "mnist"]
    expected = {
        "concrete": ("test risk", [[21.0, 0.8 / 3]], [[88.0, 0.9125 / 3]], ["50"]),
        "mnist": (
            "test accuracy",
            [[80.0, 0.52], [345.6, 0.85]],
            [[104.0, 0.9125]],
            ["20", "100"],
        ),
    }
    for task, (label, points, wholes, nodes) in expected.items():
        axis = panels[task]
        assert axis.get_ylabel() == label
        for line, drawn_as in zip(axis.lines, (points, wholes), strict=True):
            np.testing.assert_allclose(line.get_xydata(), drawn_as)
        assert [text.get_text() for text in axis.texts] == nodes
    assert [text.get_text() for text in figure.legends[0].texts] == [
        *("preset, with its nodes", "the network it was cut from")
    ]


@pytest.mark.parametrize(
    "page",
    ["", zoo_page.BEGIN, f"{zoo_page.END}{zoo_page.BEGIN}", f"{PAGE}{zoo_page.END}", 2 * PAGE],
)
def test_pages_without_the_two_marks_are_refused(page):
    with pytest.raises(ValueError, match=r"Put them where the tables belong"):
        zoo_page.replaced(page, "tables")


def test_presets_that_tell_too_little_are_refused(presets, tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"received none\. Make them: python -m trainers\.z"
    ):
        zoo_page.read_entries(tmp_path / "nowhere")
    for changes, message in (
        ({"metrics": {}}, r"expected metrics with full, pruned, units"),
        ({"data": None}, r"expected data with name, licence, examples"),
        ({"metrics": {"full": {}, "pruned": {}, "units": ""}}, r"expected metrics of the refitted"),
    ):
        path = write_preset(presets, "plant", 7, size=1, **changes)
        with pytest.raises(ValueError, match=rf"plant_gamma0_k7\.json: {message}"):
            zoo_page.read_entries(presets)
    for text, message in (
        ("{", r"expected JSON in .*k7\.json"),
        ("[]", r"expected a card with name"),
    ):
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=message):
            zoo_page.read_entries(presets)
    path.with_suffix(".keras").unlink()
    with pytest.raises(FileNotFoundError, match=r"expected plant_gamma0_k7\.keras beside"):
        zoo_page.read_entries(presets)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--page", "none.md"], "--page: expected a file, received no such file: none.md"),
        (["--figure", "none/zoo.png"], "--figure: expected an existing folder, received none"),
        (["--figure", "zoo.pdf"], "--figure: expected a name that ends in .png"),
    ],
)
def test_bad_flags_are_told(argv, flags, message, capsys):
    with pytest.raises(SystemExit) as caught:
        zoo_gallery.main([*argv, *flags])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_help_loads_nothing_heavy():
    script = (
        "import sys\nfrom trainers.zoo_gallery import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n    print(*sys.modules, file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0
    assert not {"numpy", "tensorflow", "keras", "matplotlib"} & set(done.stderr.split())


def test_nested_presets_have_a_table_of_their_own(presets):
    numbers = {"20": {"test_accuracy": 0.9}, "50": {"test_accuracy": 0.95}}
    card = {"name": "many", "task": "classification", "widths": [20, 50]}
    card |= {"metrics": {"widths": numbers}}
    card |= {"anytime": {"test_accuracy": 0.94, "mean_width": 23.4}}
    (presets / "many.json").write_text(json.dumps(card))
    (presets / "many.keras").write_bytes(bytes(2000))
    assert len(zoo_page.read_entries(presets)) == 3
    lines = zoo_nested.nested_table(presets).splitlines()
    assert lines[2:] == ["| `many` | 20: 0.9000, 50: 0.9500 | 0.9400, 23 | 2 |"]


def test_page_of_the_documentation_shows_the_presets_of_the_package():
    if not list(PRESETS.glob("*.json")):
        pytest.skip("no presets in the package: python -m trainers.zoo makes them")
    page, figure = ROOT / "docs" / "zoo.md", ROOT / "docs" / "figures" / "zoo.png"
    zoo_gallery.main(["--page", str(page), "--figure", str(figure), "--check"])
    assert figure.is_file()
