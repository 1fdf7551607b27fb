"""Time limits of calls, and further tries within them."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from serving import extra
from serving.client.errors import ServingError
from serving.commands import LONGEST_SECONDS

_Result = TypeVar("_Result")

_FIRST_WAIT = 0.1  # seconds; each wait is random, from 0 to a bound that doubles with each try
_LONGEST_WAIT = 5.0


class Deadline:
    """The end of the time that one call has, batches and waits included.

    Args:
        seconds: From now to the end.

    Raises:
        ValueError: `seconds` is not a positive number, or more than `LONGEST_SECONDS`.
    """

    def __init__(self, seconds: float):
        if not 0 < seconds <= LONGEST_SECONDS:
            expected = f"a positive number of seconds, at most {LONGEST_SECONDS} (24 days)"
            raise ValueError(f"timeout: expected {expected}, received {seconds}")
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left; 0 or less when the time is up."""
        return self._end - time.monotonic()


def with_retries(call: Callable[[], _Result], *, deadline: Deadline, retries: int) -> _Result:
    """Runs `call`, and runs it again after growing random waits while its error is `retryable`.

    Args:
        call: Raises `ServingError`. Only a `retryable` one leads to another try.
        deadline: A wait that would end after it is not begun.
        retries: Most tries after the first one. While the server is `busy` there are as many as
            the time allows, unless `retries` is 0.

    Returns:
        What `call` returns.

    Raises:
        ServingError: The error of the last try.
    """
    tenacity = extra.load("tenacity", wanted_by="retries")
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda e: isinstance(e, ServingError) and e.retryable),
        wait=tenacity.wait_random_exponential(multiplier=_FIRST_WAIT, max=_LONGEST_WAIT),
        stop=lambda state: (
            (state.attempt_number > retries and not (retries and state.outcome.exception().busy))
            or state.upcoming_sleep >= deadline.remaining()
        ),
        reraise=True,
    )
    return retrying(call)
