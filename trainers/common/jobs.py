"""Makes calls in several processes at once; if a process dies, only its own call fails."""

from __future__ import annotations

import functools
import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from trainers.common.process import follow_parent, prepare_process, share_of_threads

_GUARD = (
    "Each process first imports the program's file: it must be a file, not standard input, and "
    'start its work under: if __name__ == "__main__": main(...). Or give --jobs 1'
)


def in_processes(function: Callable, items: Sequence, jobs: int) -> Iterator[tuple[int, Future]]:
    """Calls `function(item)` for each item, `jobs` at a time, each with its share of the cores.

    A process serves one call after the other, so TensorFlow is loaded `jobs` times in all. On
    Ctrl-C and SIGTERM, this process interrupts the calls and waits for them. If it is killed, they
    end, too.

    Args:
        function, items: both must be picklable.
        jobs: number of processes.

    Yields:
        The index of an item and its finished future, in the order in which calls end. If a process
        dies (no memory left, or a crash in a library), its call raises `RuntimeError`.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):  # while it is started
        raise RuntimeError(f"expected no new process while one starts, received one. {_GUARD}")
    own, executors = threading.local(), []

    def call(item):
        if getattr(own, "executor", None) is None:
            own.executor = ProcessPoolExecutor(
                1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_start,
                initargs=(share_of_threads(jobs),),
            )
            executors.append(own.executor)
            _require_start(own.executor)
        try:
            return own.executor.submit(function, item).result()
        except BrokenProcessPool as error:
            own.executor = None
            raise RuntimeError(
                "its process died: expected it to have memory for a run, received a kill or a "
                "crash. Try fewer --jobs"
            ) from error

    # Each thread has a pool of one process: a pool of several breaks as a whole when one dies.
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


def _require_start(executor: ProcessPoolExecutor) -> None:
    try:
        executor.submit(os.getpid).result()
    except BrokenProcessPool as error:
        raise RuntimeError(f"its process ended as it started. {_GUARD}") from error


def _start(threads: dict[str, str]) -> None:
    """Prepares a process before it loads any numerical library."""
    os.environ |= threads
    prepare_process()
    parent = multiprocessing.parent_process()
    assert parent is not None
    follow_parent(functools.partial(multiprocessing.connection.wait, [parent.sentinel]))
