"""A session's events again, from the ingress as server-sent events (WHATWG HTML, 9.2). See docs/replay.md."""

import json
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import typer

from cli.client import CallFailed, Client
from cli.screen import err
from cli.tail import print_event

_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 10.0


class SentEvent(NamedTuple):
    """One server-sent event; the empty texts are those of a field that did not come."""

    kind: str
    id: str
    data: str


def read_events(lines: Iterable[str]) -> Iterator[SentEvent]:
    """The events in these lines. One that is not whole is left out, as is all that is no event."""
    kind = id = ""
    data: list[str] = []
    for line in lines:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            id = value
        elif name == "data":
            data.append(value)
        elif not line:
            if data:
                yield SentEvent(kind, id, "\n".join(data))
            kind, data = "", []


def print_replay(client: Client, path: str, *, speed: float, start: str | None, as_json: bool) -> None:
    """Print events as they come, until the last; goes on after a connection that broke. Raises `CallFailed`."""
    params = {"speed": f"{speed:g}", **({} if start is None else {"from": start})}
    last = ""
    pause = _FIRST_PAUSE
    while True:
        came = False
        try:
            with client.lines(path, params, {"Last-Event-ID": last} if last else {}) as lines:
                for event in read_events(lines):
                    came = True
                    if event.kind == "replay_ended":
                        return
                    if event.kind == "replay_started":
                        _tell_beginning(event, is_first=not last, as_json=as_json)
                        continue
                    last, pause = event.id, _FIRST_PAUSE
                    if as_json:
                        typer.echo(event.data)
                    else:
                        print_event(json.loads(event.data), number="session_seq")
            if not came and last:
                return  # there is nothing behind the last one
            reason = "the replay broke off"
        except CallFailed as error:
            if not last or error.status not in (None, 502, 503, 504):
                raise
            reason = str(error)
        err.print(f"{reason}; going on in {pause:g} s", style="yellow", markup=False)
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


def _tell_beginning(event: SentEvent, *, is_first: bool, as_json: bool) -> None:
    if as_json or not is_first:
        return
    head = json.loads(event.data)
    pace = f"at {head['speed']:g} times its pace" if head["speed"] else "as fast as can be"
    err.print(f"replaying {head['session_id']}, up to event {head['last_seq']}, {pace}", style="dim", markup=False)
