"""One thing a demonstration sends, what it sees of it, and how long it waits for that."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.markup import escape

from cli.client import CallFailed, Feed
from cli.screen import BAD, GOOD, harmless, out

PATIENCE = 15.0


@dataclass
class Case:
    """One thing that was sent, and what came out of it."""

    title: str
    good: bool = True
    lines: list[tuple[bool | None, str, float | None]] = field(default_factory=list)

    def step(self, good: bool, text: str, seconds: float | None = None) -> None:
        """Note what was seen, and after how long."""
        self.good = self.good and good
        self.lines.append((good, text, seconds))

    def note(self, text: str) -> None:
        """Say something that is neither good nor bad."""
        self.lines.append((None, text, None))

    @contextmanager
    def missing(self) -> Iterator[None]:
        """What fails is a line of the case, and the other cases still run."""
        try:
            yield
        except CallFailed as error:
            self.step(False, str(error))

    def show(self) -> bool:
        """Print it; whether nothing is missing."""
        out.print(f"[bold]{escape(self.title)}[/]")
        for good, text, seconds in self.lines:
            took = f"{seconds * 1000:8.1f} ms" if seconds is not None else " " * 11
            mark = " " if good is None else GOOD if good else BAD
            out.print(f"  {mark} {took}  {escape(harmless(text))}")
        return self.good


def awaited(feed: Feed, wanted: Callable[[dict[str, Any]], bool], patience: float = PATIENCE) -> dict[str, Any]:
    """The first frame that fits; CallFailed when it does not come."""
    deadline = time.monotonic() + patience
    while (left := deadline - time.monotonic()) > 0:
        frame = feed.next(left)
        if wanted(frame):
            return frame
    raise CallFailed(f"the event did not come over the WebSocket within {patience:g} s")


def polled(ask: Callable[[], dict[str, Any] | None], patience: float = PATIENCE) -> dict[str, Any]:
    """What `ask` returns, asked until it is something; CallFailed when it stays nothing."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        if found := ask():
            return found
        time.sleep(0.05)
    raise CallFailed(f"not there after {patience:g} s")


def since(began: float) -> float:
    """Seconds since a moment of time.monotonic()."""
    return time.monotonic() - began
