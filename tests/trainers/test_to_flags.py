"""`to_flags` is the inverse of `parse_config`, for the flags of every program."""

from __future__ import annotations

import dataclasses
import typing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainers import beyond, cifar10, figures, mnist, regression, simulated, sweep, theory, zoo
from trainers.common.cli import parse_config, to_flags

PROGRAMS = (beyond, cifar10, figures, mnist, regression, simulated, sweep, theory, zoo)
NUMBERS = {
    int: st.integers(-5, 10**6),
    float: st.floats(allow_nan=False) | st.floats(0.0, 1.0),
}
WORDS = ("all", "none", "max", "20,50", "1:0.4,0:0.4", "0:1", "-0.5:-3", "--resume", "-", "")
# What starts with ~ is the home folder, on the command line alone, and "--" no value.
TEXTS = st.sampled_from(WORDS) | st.text("-=ab /:~\n'é", max_size=8).filter(
    lambda text: not text.startswith("~") and text != "--"
)


def values(field, hint):
    """What a field may hold, its limits left aside."""
    options = field.metadata["options"]
    if "choices" in options:
        return st.sampled_from(options["choices"])
    kinds = typing.get_args(hint) or (hint,)
    [kind] = [kind for kind in kinds if kind is not type(None)]
    return st.booleans() if kind is bool else NUMBERS.get(kind, TEXTS)


@st.composite
def configurations(draw, of):
    """Configurations with some flags given, of those that the program takes."""
    hints = typing.get_type_hints(of)
    fields = draw(st.lists(st.sampled_from(dataclasses.fields(of)), unique_by=lambda f: f.name))
    given_flags = {field.name: draw(values(field, hints[field.name])) for field in fields}
    if "study" in hints:
        given_flags.setdefault("study", "budget")
    if of is regression.Config:
        given_flags |= {"dataset": "energy", "data": None, "target": None}
    # Flags with limits are kept where they lie within, one by one: few sets would lie as a whole.
    kept: dict = {}
    for name in [*(n for n in ("study", "dataset") if n in given_flags), *given_flags]:
        try:
            of(**{**kept, name: given_flags[name]})
        except (TypeError, ValueError):
            continue
        kept[name] = given_flags[name]
    return of(**kept)


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.MODULE)
@settings(max_examples=20, deadline=None)  # nine programs share most flags
@given(data=st.data())
def test_flags_of_a_configuration_make_it_again(program, data):
    config = data.draw(configurations(program.Config))
    flags = to_flags(config)
    assert parse_config(program.Config, flags, module="m", description=None) == config


def test_flags_are_those_that_differ_and_can_be_left_out():
    config = mnist.Config(gamma=0.5, quiet=True, out_dir="-a b")
    assert to_flags(config) == ["--gamma", "0.5", "--out-dir=-a b", "--quiet"]
    assert to_flags(config, without=("quiet", "out_dir")) == ["--gamma", "0.5"]
