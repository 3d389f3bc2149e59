"""`switchyard tail`: events as they happen, from the WebSocket."""

import json
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.markup import escape

from cli.screen import EXIT_CODES, err, fail, harmless, out

app = typer.Typer()

_LONGEST_PAUSE = 10.0
_SHOWN = 160
# Fields of every event; what is left is what the event is about.
_ENVELOPE = {
    *("type", "message_id", "timestamp", "sender_agent_id", "session_id", "sidebar_id", "priority", "correlation_id"),
    *("session_seq", "hops", "trust", "context_id", "cursor", "traceparent"),
}


@app.command(rich_help_panel="Doors", epilog=EXIT_CODES)
def tail(
    topics: Annotated[
        list[str] | None, typer.Argument(help="Patterns of routing keys; * is one word, # any number.")
    ] = None,
    since: Annotated[str | None, typer.Option(help="Begin after this cursor, or with the `last` event.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
    count: Annotated[int | None, typer.Option("--count", "-n", help="End after so many events.")] = None,
) -> None:
    """Print events as they happen, until interrupted; comes back by itself after a lost connection.

    Example: `switchyard tail 'memory.#' --since last --json`
    """
    from cli.client import CallFailed

    try:
        follow(topics or ["#"], since=since, as_json=json, count=count)
    except CallFailed as error:
        fail(str(error), error.exit_code)


def follow(topics: list[str], *, since: str | None, as_json: bool, count: int | None) -> None:
    """Print matching events until interrupted, or `count` of them. Raises `CallFailed` when the gateway refuses."""
    from cli.client import CallFailed, Client
    from cli.local.environment import ENV_FILE, Environment
    from cli.local.run_file import present

    cursor: int | str | None = int(since) if since and since.isdigit() else since
    left = count
    pause = 0.5
    with Client(present(Environment.load(ENV_FILE))) as client:
        while True:
            try:
                with client.socket(topics, cursor) as feed:
                    pause = 0.5
                    cursor = feed.hello.get("cursor") if cursor is None else cursor
                    if not as_json:
                        err.print(f"listening to {' '.join(topics)} on {client.gateway_url}", style="dim")
                    while left is None or left > 0:
                        text = feed.text()
                        frame = json.loads(text)
                        cursor = frame.get("cursor", cursor)
                        left = None if left is None else left - 1
                        if as_json:
                            typer.echo(text)
                        else:
                            print_event(frame)
                    return
            except KeyboardInterrupt:
                return
            except CallFailed as error:
                if error.status in (401, 403, 422):
                    raise
                err.print(f"{error}; trying again in {pause:g} s", style="yellow", markup=False)
                time.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)


def about(event: Mapping[str, Any]) -> str:
    """What an event is about: its own fields, without the envelope's, as one line of JSON."""
    return json.dumps({name: value for name, value in event.items() if name not in _ENVELOPE}, ensure_ascii=False)


def print_event(frame: Mapping[str, Any], *, number: str = "cursor") -> None:
    """Print an event as a line that begins with this number of it."""
    moment = str(frame.get("timestamp", ""))[11:23]
    session = f" [blue]{escape(str(frame['session_id']))}[/]" if frame.get("session_id") else ""
    rest = harmless(about(frame))
    if len(rest) > _SHOWN:
        rest = rest[: _SHOWN - 2] + " …"
    out.print(f"[dim]{frame.get(number, '·'):>6} {moment}[/] [bold]{escape(frame['type'])}[/]{session} {escape(rest)}")
