"""`switchyard sessions`: what agents and people do together, and where each session stands."""

import json as jsons
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.calling import calling, given
from cli.options import All, AsJson, Cursor, Limit, SessionId
from cli.screen import EXIT_CODES, err, out

if TYPE_CHECKING:
    from cli.tables import Row

app = typer.Typer(
    name="sessions",
    help="List sessions, look into one, and move it on.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
)
MISSING = "`switchyard sessions ls` lists those there are."

Reason = Annotated[str | None, typer.Option(help="Why; kept with the change.")]
STATUSES = "active, paused, completed, failed or archived"


@app.command(epilog=EXIT_CODES)
def ls(
    status: Annotated[str | None, typer.Option(help=f"Only those that are {STATUSES}.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
    all: All = False,
    json: AsJson = False,
) -> None:
    """List sessions, the most recently active first.

    Example: `switchyard sessions ls --status active`
    """
    from cli.pages import Paging, print_list
    from cli.tables import Column

    columns = [
        Column("SESSION", "session_id", whole=True),
        Column("STATUS", "status", whole=True),
        Column("TITLE", "title", comfort=24),
        Column("WHO", "participants", spare=4),
        Column("CHUNKS", "conversation_chunk_count", whole=True, right=True, spare=3),
        Column("MEMORIES", "memory_count", whole=True, right=True, spare=1),
        Column("TASKS", "task_count", whole=True, right=True, spare=2),
        Column("LAST ACTIVE", "last_activity", whole=True),
    ]
    with calling(as_json=json) as client:
        print_list(
            lambda size, after: client.result("list_sessions", given(status=status, limit=size, cursor=after)),
            "sessions",
            columns,
            Paging(limit, cursor, all, json),
            empty=f"There is no {status} session." if status else "There is no session yet.",
        )


@app.command(epilog=EXIT_CODES)
def show(session: SessionId, json: AsJson = False) -> None:
    """Show one session with its status and counts.

    Example: `switchyard sessions show demo`
    """
    from cli.pages import print_json
    from cli.tables import member, print_card

    with calling(as_json=json, missing=MISSING) as client:
        text = client.result("get_session", {"session_id": session})
    if json:
        print_json(text)
        return
    print_card(member(text, "session"), first=("session_id", "title", "status"), blocks=("initial",))


@app.command(epilog=EXIT_CODES)
def pause(session: SessionId, reason: Reason = None, json: AsJson = False) -> None:
    """Pause an active session.

    Example: `switchyard sessions pause demo --reason 'waiting for the review'`
    """
    _move("pause_session", session, json, reason=reason)


@app.command(epilog=EXIT_CODES)
def resume(session: SessionId, reason: Reason = None, json: AsJson = False) -> None:
    """Go on with a paused session.

    Example: `switchyard sessions resume demo`
    """
    _move("resume_session", session, json, reason=reason)


@app.command(epilog=EXIT_CODES)
def complete(
    session: SessionId,
    summary: Annotated[str | None, typer.Option(help="What came of it.")] = None,
    json: AsJson = False,
) -> None:
    """Close an active session as done; nothing can be written to it afterwards.

    Example: `switchyard sessions complete demo --summary 'The checkout uses the new API'`
    """
    _move("complete_session", session, json, summary=summary)


@app.command(epilog=EXIT_CODES)
def fail(session: SessionId, reason: Reason = None, json: AsJson = False) -> None:
    """Close an active session as failed; nothing can be written to it afterwards.

    Example: `switchyard sessions fail demo --reason 'the customer withdrew'`
    """
    _move("fail_session", session, json, reason=reason)


@app.command(epilog=EXIT_CODES)
def archive(session: SessionId, json: AsJson = False) -> None:
    """Put a completed or failed session away; it can be read as before.

    Example: `switchyard sessions archive demo`
    """
    _move("archive_session", session, json)


@app.command(epilog=EXIT_CODES)
def timeline(
    session: SessionId,
    type: Annotated[list[str] | None, typer.Option(help="Only events of this type; may be given again.")] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
    all: All = False,
    json: AsJson = False,
) -> None:
    """List everything that happened in a session, in its order.

    Example: `switchyard sessions timeline demo --type memory_update`
    """
    from cli.pages import Paging, print_list
    from cli.tables import Column

    columns = [
        Column("NO", "session_seq", whole=True, right=True),
        Column("WHEN", "timestamp", whole=True),
        Column("EVENT", "type", whole=True),
        Column("BY", "sender_agent_id", spare=1),
        Column("ABOUT", _about, comfort=40),
    ]
    with calling(as_json=json, missing=MISSING) as client:
        print_list(
            lambda size, after: client.result(
                "get_timeline", given(session_id=session, types=type, limit=size, cursor=after)
            ),
            "entries",
            columns,
            Paging(limit, cursor, all, json),
            empty=f"Nothing{' of that type' if type else ''} has happened in session {session} yet.",
        )


@app.command(epilog=EXIT_CODES)
def replay(
    session: SessionId,
    speed: Annotated[
        float, typer.Option(min=0, max=1000, help="Times the pace it had; 0: as fast as it can be read.")
    ] = 1.0,
    start: Annotated[
        str | None,
        typer.Option("--from", help="An event's number in the session, or a moment such as 2026-01-31T12:00Z."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
) -> None:
    """Let a session happen again: its events, its agents' output among them, at the pace they had.

    Example: `switchyard sessions replay demo --speed 8`
    """
    from contextlib import suppress
    from urllib.parse import quote

    from cli.replays import print_replay

    path = f"/api/replay/session/{quote(session, safe='')}"
    with calling(as_json=json, missing=MISSING) as client, suppress(KeyboardInterrupt):
        print_replay(client, path, speed=speed, start=start, as_json=json)


@app.command(epilog=EXIT_CODES)
def state(session: SessionId, json: AsJson = False) -> None:
    """Show a session's state: its members, goals and spawned agents.

    Example: `switchyard sessions state demo`
    """
    from cli.pages import print_json, print_pretty
    from cli.tables import member

    with calling(as_json=json, missing=MISSING) as client:
        text = client.result("get_state", {"session_id": session})
    if json:
        print_json(text)
        return
    print_pretty(member(text, "state"))
    err.print(f"version {jsons.loads(text)['version']}", style="dim")


def _move(command: str, session: str, json: bool, **data: Any) -> None:
    from cli.pages import print_json

    with calling(as_json=json, missing=MISSING) as client:
        text = client.result(command, given(session_id=session, **data))
    if json:
        print_json(text)
        return
    moved = jsons.loads(text)["session"]
    out.print(f"Session {moved['session_id']} is {moved['status']}.", markup=False)


# What a noun is best known by, and what an event may say besides.
_HEADLINE = (
    "sidebar_id",
    "key",
    "name",
    "title",
    "task_type",
    "type",
    "status",
    "description",
    "content",
    "details",
    "text",
    "message",
    "error_message",
)
_BESIDES = ("reason", "summary", "patch", "success")


def _about(event: "Row") -> str:
    """An event in a few words: what its noun is known by, then what it says besides."""
    from cli.tables import one_line

    nouns = [value for value in event.values() if isinstance(value, dict)]
    if "sidebar" in event:
        # What is said there names it too.
        nouns = [event["sidebar"], *({**noun, "sidebar_id": None} for noun in nouns if noun is not event["sidebar"])]
    known = [one_line(noun[name]) for noun in nouns for name in _HEADLINE if noun.get(name)]
    return " · ".join(known + [f"{name}: {one_line(event[name])}" for name in _BESIDES if event.get(name)])
