"""Ctrl-C within a step: a run's state is the one before the step or the one after it."""

from __future__ import annotations

import dataclasses
import json
import sys

import pytest
from problems import tanh_problem

from asym_keras.training import GradientDescent, GradientFlow, Objective


class InterruptAtLine:
    """Ctrl-C at the n-th line that `function` comes to, as a context."""

    def __init__(self, function, line: int):
        self._code, self._left, self.came = function.__code__, line, False

    def __enter__(self):
        sys.settrace(lambda frame, *_: self._trace if frame.f_code is self._code else None)
        return self

    def __exit__(self, *_):
        sys.settrace(None)

    def _trace(self, frame, event, argument):
        self._left -= event == "line"
        if event == "line" and self._left < 0 and not self.came:
            self.came = True
            raise KeyboardInterrupt
        return self._trace


@pytest.mark.parametrize("method", [GradientFlow(1e-4, 1e-4), GradientDescent(0.5)])
def test_an_interrupt_at_any_line_of_a_step_changes_nothing(method):
    run = method.start(Objective(*tanh_problem(), jit_compile=False))

    def until(end):
        while run.time < end:
            run.advance(end, end)

    until(5.0)
    if isinstance(method, GradientFlow):  # the next step is one that is rejected at first
        control = dataclasses.replace(run._now.control, pair_step=40.0, previous=None)
        run._now = dataclasses.replace(run._now, control=control)
    start = run._now
    until(30.0)
    end = run.snapshot()
    if isinstance(method, GradientFlow):
        assert run.counters()["rejected_steps"] > start.control.rejected
    for line in range(1000):
        run._now = start
        with InterruptAtLine(type(run).advance, line) as interrupt:
            try:
                run.advance(30.0, 30.0)
            except KeyboardInterrupt:
                assert interrupt.came
        arrays, values = run.snapshot()
        arrays = {name: array.numpy() for name, array in arrays.items()}
        resumed = method.start(run._objective, (arrays, json.loads(json.dumps(values))))
        run._now = resumed._now
        until(30.0)
        assert json.dumps(run.snapshot()[1]) == json.dumps(end[1])
        for name, array in run.snapshot()[0].items():
            assert array.numpy().tobytes() == end[0][name].numpy().tobytes()
        if not interrupt.came:
            break
    assert line > 7
