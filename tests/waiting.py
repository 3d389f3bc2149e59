"""Waiting for a condition with a deadline: what tests do instead of sleeping."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(condition: Callable[[], T], deadline: float = 10, *, interval: float = 0.02, because: str = "") -> T:
    """Call until it returns something true, and return that; AssertionError after `deadline` seconds.

    A condition that raises AssertionError or OSError (a server not there yet) counts as not true; its error is shown
    in the end.
    """
    end = time.monotonic() + deadline
    while True:
        error: Exception | None = None
        value: T | None = None
        try:
            if value := condition():
                return value
        except (AssertionError, OSError) as raised:
            error = raised
        if time.monotonic() >= end:
            raise AssertionError(_text(because, deadline, value)) from error
        time.sleep(interval)


async def eventually_async(
    condition: Callable[[], Awaitable[T]], deadline: float = 10, *, interval: float = 0.02, because: str = ""
) -> T:
    """`eventually` for a coroutine function."""
    end = time.monotonic() + deadline
    while True:
        error: Exception | None = None
        value: T | None = None
        try:
            if value := await condition():
                return value
        except (AssertionError, OSError) as raised:
            error = raised
        if time.monotonic() >= end:
            raise AssertionError(_text(because, deadline, value)) from error
        await asyncio.sleep(interval)


def _text(because: str, deadline: float, value: object) -> str:
    return f"{because or 'the condition'} did not come true within {deadline:g} s (last value: {value!r})"
