"""`switchyard send`: one command through the HTTP API, and what commands there are."""

import sys
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from cli.calling import calling, end
from cli.options import AsJson
from cli.screen import EXIT_CODES, fail, out

if TYPE_CHECKING:
    from cli.client import CallFailed

app = typer.Typer()


@app.command(rich_help_panel="Doors", epilog=EXIT_CODES)
def send(
    command: Annotated[str | None, typer.Argument(help="Such as store_memory; --list names them all.")] = None,
    fields: Annotated[list[str] | None, typer.Argument(help="key=text or key:=JSON.")] = None,
    data: Annotated[
        str | None, typer.Option(help="The data as one JSON object; - reads it from standard input.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the reply; 0 returns at once.")] = 10,
    message_id: Annotated[str | None, typer.Option(help="The same id again gives the same reply.")] = None,
    sender: Annotated[str | None, typer.Option("--as", metavar="AGENT", help="The agent that sends it.")] = None,
    json: AsJson = False,
    list_all: Annotated[bool, typer.Option("--list", help="List the commands by area.")] = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show the command's fields and an example.")] = False,
) -> None:
    """Send a command and print its result.

    Example: `switchyard send store_memory session_id=demo type=fact content='Tests pass' tags:='["ci"]'`
    """
    if list_all:
        from cli.commands import print_commands

        print_commands(as_json=json)
        return
    if command is None:
        fail("Which command? `switchyard send --list` names them all.", 2)
    if explain:
        from cli.commands import explain_command

        explain_command(command, as_json=json)
        return
    try:
        body = read_data(fields or [], data)
    except ValueError as error:
        fail(str(error), 2)
    with calling(as_json=json) as client:
        from cli.client import CallFailed
        from cli.pages import print_json, print_pretty

        try:
            text = client.run(command, body, wait_s=wait, message_id=message_id, sender=sender)
        except CallFailed as error:
            _end(command, error, as_json=json)
    if out.is_terminal and not json:
        print_pretty(text)
    else:
        print_json(text)


def _end(command: str, error: "CallFailed", *, as_json: bool) -> NoReturn:
    """End with the reason of a refusal; with the names that were perhaps meant when there is no such command."""
    if error.status == 422 and (error.problem.get("details") or {}).get("command") == command and not as_json:
        from cli.commands import no_such_command

        no_such_command(command)
    error.hint = error.hint or (
        f"`switchyard send {command} --explain` shows its fields." if error.status == 422 else ""
    )
    end(error, as_json=as_json)


def read_data(fields: list[str], data: str | None) -> bytes:
    """The command's data: `--data` (a JSON object, `-` for standard input), then `key=text` and `key:=json` on top.

    JSON stays as it was typed. Raises ValueError in words.
    """
    from cli.verbatim import data_of, json_value, members

    body: dict[str, Any] = {}
    if data is not None:
        body.update(members(sys.stdin.read() if data == "-" else data, "--data"))
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals or not name.removesuffix(":"):
            raise ValueError(f"{field}: expected key=value, or key:=json for anything but text")
        if name.endswith(":"):
            body[name[:-1]] = json_value(value, name[:-1])
        else:
            body[name] = value
    return data_of(body)
