"""`switchyard send`: one command through the HTTP API."""

import json
import sys
from typing import Annotated, Any

import typer

from cli.screen import EXIT_CODES, err, fail, out

app = typer.Typer()


@app.command(epilog=EXIT_CODES)
def send(
    command: Annotated[str, typer.Argument(help="Such as store_memory; /docs of the API lists them all.")],
    fields: Annotated[list[str] | None, typer.Argument(help="key=text or key:=JSON.")] = None,
    data: Annotated[
        str | None, typer.Option(help="The data as one JSON object; - reads it from standard input.")
    ] = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the reply; 0 returns at once.")] = 10,
    message_id: Annotated[str | None, typer.Option(help="The same id again gives the same reply.")] = None,
) -> None:
    """Send a command and print its result.

    Example: `switchyard send store_memory session_id=s1 type=fact content='Tests pass' tags:='["ci"]'`
    """
    try:
        body = read_data(fields or [], data)
    except ValueError as error:
        fail(str(error), 2)
    from cli.client import CallFailed, Client
    from cli.local.environment import ENV_FILE, Environment
    from cli.local.run_file import present

    try:
        with Client(present(Environment.load(ENV_FILE))) as client:
            result = client.command(command, body, wait_s=wait, message_id=message_id)
    except CallFailed as error:
        err.print(str(error), style="red", markup=False)
        for field in (error.problem or {}).get("details", {}).get("fields", []) if error.problem else []:
            err.print(f"  {field.get('field')}: {field.get('message', field.get('kind', ''))}", markup=False)
        raise SystemExit(error.exit_code) from None
    if out.is_terminal:
        out.print_json(json.dumps(result))
    else:
        out.print(json.dumps(result, ensure_ascii=False), markup=False)


def read_data(fields: list[str], data: str | None) -> dict[str, Any]:
    """The command's data: `--data` (a JSON object, `-` for standard input), then `key=text` and `key:=json` on top.

    Raises ValueError in words.
    """
    body: dict[str, Any] = {}
    if data is not None:
        text = sys.stdin.read() if data == "-" else data
        body = _json(text, "--data")
        if not isinstance(body, dict):
            raise ValueError("--data: a JSON object is expected")
    for field in fields:
        name, equals, value = field.partition("=")
        if not equals or not name.removesuffix(":"):
            raise ValueError(f"{field}: expected key=value, or key:=json for anything but text")
        if name.endswith(":"):
            body[name[:-1]] = _json(value, name[:-1])
        else:
            body[name] = value
    return body


def _json(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{where}: this is not JSON ({error})") from None
