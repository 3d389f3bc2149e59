"""`switchyard send`: one command through the HTTP API."""

import json
import sys
from typing import Any

from cli.client import CallFailed, Client
from cli.local.environment import Environment
from cli.local.run_file import present
from cli.screen import err, fail, out
from cli.up import ENV_FILE


def send(command: str, fields: list[str], *, data: str | None, wait_s: float, message_id: str | None) -> None:
    """Run the command and print its result; exit code 1 with the reason when it is refused."""
    try:
        body = read_data(fields, data)
    except ValueError as error:
        fail(str(error), 2)
    try:
        with Client(present(Environment.load(ENV_FILE))) as client:
            result = client.command(command, body, wait_s=wait_s, message_id=message_id)
    except CallFailed as error:
        err.print(str(error), style="red", markup=False)
        for field in (error.problem or {}).get("details", {}).get("fields", []) if error.problem else []:
            err.print(f"  {field.get('field')}: {field.get('message', field.get('kind', ''))}", markup=False)
        raise SystemExit(1) from None
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
