"""How a command of the command line talks to the Switchyard that runs: its client, and what is said when it fails."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from cli.screen import err, harmless, plain_errors

if TYPE_CHECKING:
    from cli.client import CallFailed, Client


@contextmanager
def calling(*, as_json: bool = False, missing: str = "") -> Iterator["Client"]:
    """A client for one command; a call that fails ends the command with its reason and exit code.

    `missing` is what to do about something that was not found. With `as_json` a refusal goes to standard error as the
    problem document it is.
    """
    from cli.client import CallFailed, Client
    from cli.local.environment import ENV_FILE, Environment
    from cli.local.run_file import present

    with plain_errors():
        try:
            with Client(present(Environment.load(ENV_FILE))) as client:
                yield client
        except CallFailed as error:
            end(error, as_json=as_json, missing=missing)


def end(error: "CallFailed", *, as_json: bool = False, missing: str = "") -> NoReturn:
    """End the command with what is known of a failed call."""
    if as_json and error.text is not None:
        typer.echo(error.text.decode(errors="replace"), err=True)
        raise typer.Exit(error.exit_code)
    err.print(harmless(str(error)), style="red", markup=False)
    for field in error.fields:
        err.print(harmless(f"  {field.get('field')}: {field.get('fault') or field.get('kind')}"), markup=False)
    if hint := error.hint or (missing if error.status == 404 else ""):
        err.print(hint, markup=False)
    raise typer.Exit(error.exit_code)


def given(**members: Any) -> dict[str, Any]:
    """Those members of a command's data that were given."""
    return {name: value for name, value in members.items() if value is not None}
