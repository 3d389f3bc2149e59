"""`switchyard audit`: who wrote what, and what came of it."""

import json as jsons
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.calling import calling, given
from cli.options import All, AsJson, Cursor, Limit, OfSession
from cli.screen import EXIT_CODES, fail, harmless, out

if TYPE_CHECKING:
    from cli.client import Client

app = typer.Typer()

_POLL_SECONDS = 1.0
# A row has the moment its transaction began, and is seen when that ends: so far back is looked again.
_OVERLAP = timedelta(seconds=15)
_PAGE = 500
_AGO = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@app.command(rich_help_panel="What it keeps", epilog=EXIT_CODES)
def audit(
    key: Annotated[str | None, typer.Option(help="Only what came by the key of this name.")] = None,
    command: Annotated[str | None, typer.Option(help="Only commands of this name.")] = None,
    session: OfSession = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="From then on: 30m, 2h, 7d ago, or a moment as 2026-01-31T12:00Z."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Only before then, given likewise.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    limit: Limit = 50,
    cursor: Cursor = None,
    all: All = False,
    json: AsJson = False,
) -> None:
    """List the writes of the audit log, the newest first; with --follow the newest last, until interrupted.

    Example: `switchyard audit --key ci --since 2h`
    """
    from cli.pages import Paging, print_list
    from cli.tables import Column

    if follow and (until or cursor or all):
        fail("--follow goes on from now: it knows no --until, --cursor and --all.", 2)
    filters = given(key=key, command=command, session_id=session, since=_moment(since), until=_moment(until))
    columns = [
        Column("WHEN", "timestamp", whole=True),
        Column("KEY", "key", whole=True),
        Column("AGENT", "agent_id", spare=2),
        Column("COMMAND", "command", whole=True),
        Column("SESSION", "session_id"),
        Column("ABOUT", "target", spare=1),
        Column("OUTCOME", "outcome", whole=True),
        Column("MESSAGE", "message_id", whole=True, spare=3),
    ]
    with calling(as_json=json) as client:
        if follow:
            _follow(client, filters, limit, as_json=json)
            return
        print_list(
            lambda size, after: client.result("list_audit", {**filters, **given(limit=size, cursor=after)}),
            "entries",
            columns,
            Paging(limit, cursor, all, json),
            empty="Nothing like that has been written.",
        )


def _moment(text: str | None) -> str | None:
    """A moment as the API takes it, of one or of how long ago; ends the command when it is neither."""
    if text is None:
        return None
    if ago := _AGO.fullmatch(text):
        moment = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    else:
        try:
            moment = datetime.fromisoformat(text).astimezone(UTC)
        except (ValueError, OverflowError):
            fail(f"{text}: neither how long ago, as 30m, 2h or 7d, nor a moment, as 2026-01-31T12:00Z.", 2)
    return f"{moment:%Y-%m-%dT%H:%M:%S.%f}Z"


def _follow(client: "Client", filters: dict[str, Any], limit: int, *, as_json: bool) -> None:
    """Print the last entries and then each that is added, once, until interrupted."""
    page = jsons.loads(client.result("list_audit", {**filters, "limit": limit}))["entries"]
    seen: dict[int, str] = {}
    began = datetime.now(UTC)
    try:
        while True:
            fresh = [entry for entry in reversed(page) if entry["audit_id"] not in seen]
            for entry in fresh:
                _print(entry, as_json=as_json)
                seen[entry["audit_id"]] = entry["timestamp"]
            time.sleep(_POLL_SECONDS)
            newest = max(map(datetime.fromisoformat, seen.values()), default=began)
            since = f"{newest - _OVERLAP:%Y-%m-%dT%H:%M:%S.%f}Z"
            seen = {number: moment for number, moment in seen.items() if moment >= since}
            page = list(_entries(client, {**filters, "since": max(since, filters.get("since", ""))}))
    except KeyboardInterrupt:
        return


def _entries(client: "Client", filters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All entries that pass the filters, the newest first."""
    after: dict[str, str] = {}
    while True:
        page = jsons.loads(client.result("list_audit", {**filters, **after, "limit": _PAGE}))
        yield from page["entries"]
        if page["next"] is None:
            return
        after = {"cursor": page["next"]}


def _print(entry: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        typer.echo(jsons.dumps(entry, ensure_ascii=False))
        return
    at = datetime.fromisoformat(entry["timestamp"]).astimezone()
    about = " ".join(part for part in (entry["session_id"], entry["target"]) if part)
    said = f"{at:%H:%M:%S} {entry['key']} {entry['agent_id']} {entry['command']} {about}".rstrip()
    style = "" if entry["outcome"] == "ok" else "red"
    out.print(harmless(f"{said} {entry['outcome']}"), markup=False, style=style)
