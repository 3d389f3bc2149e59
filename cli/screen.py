"""What the commands print: to people with colours, and errors to standard error."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console

from cli.local.processes import LocalError

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

EXIT_CODES = (
    "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 not reachable or no answer in time, 4 not found."
)

GOOD = "[green]✓[/]"
BAD = "[red]✗[/]"


def fail(text: str, code: int = 1) -> NoReturn:
    """Say what went wrong and end with this exit code."""
    err.print(text, style="red", markup=False)
    raise typer.Exit(code)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Turn a `LocalError` into its text and exit code 1."""
    try:
        yield
    except LocalError as error:
        fail(str(error))
