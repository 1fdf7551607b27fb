"""Calls in several processes at once, in which the death of one costs one call only."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from trainers.common.process import prepare_process

_THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")


def in_processes(function: Callable, items: Sequence, jobs: int) -> Iterator[tuple[int, Future]]:
    """Calls `function(item)` for each item, `jobs` at a time, each with its share of the cores.

    A process serves one call after the other, so TensorFlow is loaded `jobs` times in all. On
    Ctrl-C and SIGTERM the calls are interrupted and waited for; they end with this process.

    Args:
        function, items: what can be pickled.
        jobs: number of processes.

    Yields:
        The place of an item and its ended future, as they end. A process that dies (of memory,
        or of a fault in a library) makes a `RuntimeError` of its call.
    """
    own, executors = threading.local(), []

    def call(item):
        if getattr(own, "executor", None) is None:
            own.executor = ProcessPoolExecutor(
                1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start,
                initargs=(max(1, (os.cpu_count() or 1) // jobs),),
            )
            executors.append(own.executor)
        try:
            return own.executor.submit(function, item).result()
        except BrokenProcessPool as error:
            own.executor = None
            raise RuntimeError(
                "its process died: expected it to have memory for a run, received a kill or a "
                "crash. Try fewer --jobs"
            ) from error

    # One process a thread: a pool of several would be broken as a whole by the death of one.
    threads = ThreadPoolExecutor(min(jobs, len(items)) or 1)
    try:
        places = {threads.submit(call, item): place for place, item in enumerate(items)}
        for future in as_completed(places):
            yield places[future], future
    except BaseException:
        threads.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            child.terminate()
        raise
    finally:
        threads.shutdown()
        for executor in executors:
            executor.shutdown()


def _start(threads: int) -> None:
    """Prepares a process before it loads any numerical library."""
    for name in _THREADS:
        os.environ.setdefault(name, str(threads))
    prepare_process()
    # Ctrl-C reaches every process of the terminal; the first one tells the others by SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Ends this process where the first one was killed, before another takes up the folder."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)
