"""What the commands print: to people with colours, and errors to standard error."""

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NoReturn, TypeVar

import typer
from rich.console import Console

from cli.local.processes import LocalError

Thing = TypeVar("Thing")

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

EXIT_CODES = (
    "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 not reachable or no answer in time, 4 not found."
)

GOOD = "[green]✓[/]"
BAD = "[red]✗[/]"


# All control characters but tab and line feed, and Unicode's overrides and isolates of direction.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def fail(text: str, code: int = 1) -> NoReturn:
    """Say what went wrong and end with this exit code."""
    err.print(harmless(text), style="red", markup=False)
    raise typer.Exit(code)


def harmless(text: str) -> str:
    """Text from elsewhere without what could steer a terminal: control characters and changes of direction."""
    return _STEERING.sub("�", text)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn a `LocalError` into its text and exit code 1."""
    try:
        yield
    except LocalError as error:
        fail(str(error))


def somebody_there() -> bool:
    """Whether a person can be asked: both ends of the conversation are a terminal."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def confirm(deed: str, *, yes: bool) -> None:
    """Go on with what can't be undone only when `yes` was given, or a person says so when asked; ends the command else.

    `deed` is what would be done, as an order: "forget the memory 'plan'".
    """
    if yes:
        return
    if not somebody_there():
        fail(f"This would {deed}, and nobody is at the terminal to be asked. Say so with --yes.", 2)
    if not typer.confirm(f"Really {deed}?", err=True):
        fail("Nothing was done.")


class Bar:
    """A progress bar on standard error; where that is no terminal there is none."""

    def __init__(self, title: str, total: int | None) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = [TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
        self.running = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self._task = self.running.add_task(title, total=total)

    def advance(self, steps: int = 1) -> None:
        """So many more are done."""
        self.running.advance(self._task, steps)

    def count(self, things: Iterable[Thing]) -> Iterator[Thing]:
        """The things, each counted as done when the next one is asked for."""
        for thing in things:
            yield thing
            self.advance()


@contextmanager
def progress(title: str, total: int | None = None) -> Iterator[Bar]:
    """Show a bar while something long goes on; without a total it shows how many there were so far."""
    bar = Bar(title, total)
    with bar.running:
        yield bar
