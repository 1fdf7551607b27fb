"""The table of benchmarks.width, from cases that obey a law."""

from __future__ import annotations

import pytest

from asym_keras.training import memory
from benchmarks.width import __main__ as width


def results(widths=(10_000, 20_000, 80_000)):
    """Cases as large as stated, whose seconds grow like the width to the power of 1.5."""
    return {
        m: {
            part: {
                "part": part,
                "peak": width.stated(m, part, 5000) if part != "pruning" else 10**9,
                "seconds": 1e-6 * m**1.5,
                "others": 0.25,
            }
            for part in ("flow", "descent", "pruning")
        }
        for m in widths
    }


def test_exponents_of_the_table():
    lines = width.width_table(results(), 5000).splitlines()
    head, first = ([cell.strip() for cell in lines[i].split("|")[1:-1]] for i in (0, 2))
    whole, bare = ([cell.strip() for cell in lines[i].split("|")[1:-1]] for i in (5, 6))
    assert first[0] == "10,000"
    assert first[2] == "1"
    assert dict(zip(head, whole, strict=True))["s a gradient"] == "1.50"
    assert dict(zip(head, whole, strict=True))["pruning: peak GB"] == "0.00"
    assert 0.0 < float(dict(zip(head, whole, strict=True))["flow: peak GB"]) < 1.0
    assert [cell for cell in bare[1:] if cell] == ["1.00", "1.00"]
    assert "up to 25% of the cores" in lines[-1]


def test_slopes_are_the_copies_that_are_stated():
    text = width.slopes(results())
    for solver, copies in memory.WEIGHT_COPIES.items():
        assert f"{solver}:" in text
        assert f"{copies:.1f} weights' size" in text


@pytest.mark.parametrize("wrong", [["--widths", "0"], ["--examples", "1"], ["--parts", "sgd"]])
def test_flags_that_make_no_sense(wrong, capsys):
    with pytest.raises(SystemExit):
        width.parse(wrong)
    assert wrong[1] in (error := capsys.readouterr().err) or "expected" in error
