"""Two ways to send requests: closed and open loop."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Iterable

import numpy as np

from benchmarks.load.plan import Plan
from benchmarks.load.senders import Send


@dataclasses.dataclass(frozen=True)
class Sample:
    """One request.

    Attributes:
        start: Seconds from the round's begin to when it was sent; in an open loop, to when it
            should have been sent.
        latency: Seconds from there to its answer.
        code: "OK", or the code of its error.
        late: Seconds by which the generator sent it late.
    """

    start: float
    latency: float
    code: str
    late: float = 0.0


async def one_round(send: Send, plan: Plan, *, number: int = 0) -> list[Sample]:
    """Samples of one round, warm-up included; the `number` of a round makes its draws its own."""
    if plan.rate is None:
        return await closed_loop(send, plan)
    rng = np.random.default_rng([plan.seed, number])
    return await open_loop(send, poisson_times(plan.rate, plan.seconds, rng), plan.timeout)


async def closed_loop(send: Send, plan: Plan) -> list[Sample]:
    """`plan.clients` clients that each wait for their answer before they send again.

    A slow answer delays the requests behind it, which are then not sent: latencies of an
    overloaded server look better than users find them. The open loop has no such fault.
    """
    samples: list[Sample] = []
    begin = time.perf_counter()

    async def client() -> None:
        while (start := time.perf_counter() - begin) < plan.seconds:
            code = await send(plan.timeout)
            samples.append(Sample(start, time.perf_counter() - begin - start, code))

    await asyncio.gather(*(client() for _ in range(plan.clients)))
    return samples


def poisson_times(rate: float, seconds: float, rng: np.random.Generator) -> list[float]:
    """Times of a Poisson process of `rate` a second in [0, seconds), rising."""
    count = rng.poisson(rate * seconds)
    return np.sort(rng.uniform(0, seconds, count)).tolist()


async def open_loop(send: Send, times: Iterable[float], timeout: float) -> list[Sample]:
    """Sends at `times`, whether or not answers come; latencies count from these times.

    A thread keeps the time, since asyncio rounds its waits up to whole milliseconds, and a small
    model takes less than one.
    """
    loop = asyncio.get_running_loop()
    samples: list[Sample] = []
    tasks: set[asyncio.Task[None]] = set()
    stop = threading.Event()
    begin = time.perf_counter()

    async def one(due: float) -> None:
        late = time.perf_counter() - begin - due
        left = timeout - late
        code = await send(left) if left > 0 else "DEADLINE_EXCEEDED"
        samples.append(Sample(due, time.perf_counter() - begin - due, code, late))

    def launch(due: float) -> None:
        task = loop.create_task(one(due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def keep_time() -> None:
        for due in times:
            wait = begin + due - time.perf_counter()
            if wait > 0 and stop.wait(wait):
                return
            loop.call_soon_threadsafe(launch, due)

    try:
        await asyncio.to_thread(keep_time)
        await asyncio.gather(*tasks)
    finally:
        stop.set()
    return samples
