"""Two ways to send requests: closed and open loop."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections.abc import Iterable

import numpy as np

from serving.client.load.plan import Plan
from serving.client.load.senders import Send


@dataclasses.dataclass(frozen=True)
class Sample:
    """One request.

    Attributes:
        start: When it was sent, or in an open loop was to be sent; seconds since the round began.
        latency: Seconds from there to its answer.
        code: "OK", or the code of its error.
        late: Seconds by which the generator itself was late to send it.
    """

    start: float
    latency: float
    code: str
    late: float = 0.0


async def one_round(send: Send, plan: Plan, *, number: int = 0) -> list[Sample]:
    """Samples of one round, those of the warm-up too; `number` gives each its own draws."""
    if plan.rate is None:
        return await closed_loop(send, plan)
    rng = np.random.default_rng([plan.seed, number])
    return await open_loop(send, poisson_times(plan.rate, plan.seconds, rng), plan.timeout)


async def closed_loop(send: Send, plan: Plan) -> list[Sample]:
    """`plan.clients` clients that each wait for their answer before they send again.

    A slow answer delays the requests behind it, which are then not sent: latencies of an
    overloaded server look better than users would find them. The open loop has no such fault.
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
    """Sends at `times`, whatever comes back; latencies count from these times.

    A thread keeps the time: asyncio rounds its waits up to whole milliseconds, which is more than
    a small model takes.
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
