"""Models side by side, in rounds that alternate."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.load import loops, results
from benchmarks.load.plan import Plan
from benchmarks.load.results import Result
from benchmarks.load.senders import sender
from serving.client.client import Client
from serving.client.endpoint import Endpoint
from serving.client.signatures import Signature

_BODIES = 16  # different requests that are sent in turn
_BAR = "{desc}: {percentage:3.0f} %|{bar}| {n:.0f} of {total:.0f} s"
_TICK = 0.2  # seconds between two moves of the bar


def measure(
    endpoints: Mapping[str, Endpoint],
    plan: Plan,
    *,
    inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike] | None = None,
    signature: str | Mapping[str, str] = "serving_default",
    progress: bool = False,
) -> list[Result]:
    """Latency and throughput of each of `endpoints`, after one request to each.

    Every round takes each model in turn, so that other programs disturb all models alike.

    Args:
        endpoints: Models by the names that the results carry.
        plan: Load and times.
        inputs: Rows to send, in a circle; by input name, if there are several inputs. None: whole
            numbers in [0, 255] of the shape that the signature asks for.
        signature: Name of the signature, or one for each of `endpoints`.
        progress: Whether to show a bar on stderr.

    Returns:
        A `Result` for each endpoint, in order.

    Raises:
        ValueError: `inputs` do not fit, or the signature has free lengths and needs them.
        ServingError: A model does not answer a first request.
    """
    named = dict.fromkeys(endpoints, signature) if isinstance(signature, str) else signature
    batches = {name: _prepare(e, plan, inputs, named[name]) for name, e in endpoints.items()}
    return asyncio.run(_measure(endpoints, batches, plan, named, progress))


async def _measure(
    endpoints: Mapping[str, Endpoint],
    batches: Mapping[str, Sequence[dict[str, npt.NDArray]]],
    plan: Plan,
    signatures: Mapping[str, str],
    progress: bool,
) -> list[Result]:
    from tqdm.auto import tqdm

    samples: dict[str, list] = {name: [] for name in endpoints}
    busy = dict.fromkeys(endpoints, 0.0)
    wall = dict.fromkeys(endpoints, 0.0)
    total = plan.seconds * plan.rounds * len(endpoints)
    with tqdm(total=total, disable=not progress, file=sys.stderr, bar_format=_BAR) as bar:
        for number in range(plan.rounds):
            for name, endpoint in endpoints.items():
                bar.set_description(f"{name}, round {number + 1} of {plan.rounds}")
                async with sender(
                    endpoint, batches[name], signature=signatures[name], connections=plan.clients
                ) as send:
                    cpu, start = time.process_time(), time.perf_counter()
                    async with _ticking(bar, plan.seconds):
                        samples[name].append(await loops.one_round(send, plan, number=number))
                    busy[name] += time.process_time() - cpu
                    wall[name] += time.perf_counter() - start
    return [
        results.summarize(name, samples[name], plan, generator=busy[name] / wall[name])
        for name in endpoints
    ]


@contextlib.asynccontextmanager
async def _ticking(bar: Any, seconds: float) -> AsyncIterator[None]:
    """Moves the bar within the block."""

    async def tick() -> None:
        for _ in range(int(seconds / _TICK)):
            await asyncio.sleep(_TICK)
            bar.update(_TICK)

    before = bar.n
    ticker = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticker.cancel()
        bar.update(before + seconds - bar.n)


def _prepare(
    endpoint: Endpoint,
    plan: Plan,
    inputs: npt.ArrayLike | Mapping[str, npt.ArrayLike] | None,
    signature: str,
) -> Sequence[dict[str, npt.NDArray]]:
    """Batches in the signature's dtypes, after one request by the ordinary client."""
    with Client(endpoint, timeout=plan.timeout) as client:
        specification = client.signature(signature)
        rng = np.random.default_rng(plan.seed)
        if inputs is None:
            inputs = random_inputs(specification, _BODIES * plan.batch_size, rng)
        arrays = specification.arrays(inputs)
        batches = [_rows(arrays, n * plan.batch_size, plan.batch_size) for n in range(_BODIES)]
        client.predict(batches[0], signature=signature)
    return batches


def random_inputs(
    signature: Signature, rows: int, rng: np.random.Generator
) -> dict[str, npt.NDArray]:
    """Rows of every input: whole numbers in [0, 255] of floats and bytes, else 0 and 1; words.

    Integers are small, since most of them are the numbers of categories. A free length is 32.

    Raises:
        ValueError: An input of an unknown rank or dtype.
    """
    arrays = {}
    for name, spec in signature.inputs.items():
        if spec.shape is None or spec.dtype is None:
            expected = f"inputs: expected a known rank and dtype of {name!r}"
            raise ValueError(f"{expected}, received {spec.plain()}; give rows to send")
        shape = (rows, *(32 if n is None else n for n in spec.shape[1:]))
        if spec.dtype == "object":
            arrays[name] = rng.choice(np.array([b"a", b"word", b"another"], object), shape)
        else:
            few = np.dtype(spec.dtype).kind in "biu" and spec.dtype != "uint8"
            arrays[name] = rng.integers(0, 2 if few else 256, shape).astype(spec.dtype)
    return arrays


def _rows(arrays: Mapping[str, npt.NDArray], start: int, count: int) -> dict[str, npt.NDArray]:
    if any(array.ndim == 0 or not len(array) for array in arrays.values()):
        raise ValueError("inputs: expected at least one row, received none")
    return {
        name: np.take(array, range(start, start + count), axis=0, mode="wrap")
        for name, array in arrays.items()
    }
