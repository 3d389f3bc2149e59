"""SQL of transcripts: what Claude remembers, line by line."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import text

from shared.database import Transaction


class Place(NamedTuple):
    """Where a transcript is kept; `subpath` is empty for the conversation itself."""

    project_key: str
    claude_session: str
    subpath: str = ""


# Lines in their order; those with a uuid only once. By chat_transcripts_once.
_ADD = text("""
    insert into chat_transcripts (project_key, claude_session, subpath, uuid, entry, turn_id)
    select :project_key, :claude_session, :subpath, uuid, cast(entry as json), :turn_id
    from unnest(cast(:uuids as text[]), cast(:entries as text[])) with ordinality as e (uuid, entry, place)
    order by place
    on conflict (claude_session, project_key, subpath, uuid) where uuid is not null do nothing
""")

# By chat_transcripts_in_order, as all below.
_LOAD = text("""
    select entry::text from chat_transcripts
    where claude_session = :claude_session and project_key = :project_key and subpath = :subpath order by number
""")

_SUBPATHS = text("""
    select distinct subpath from chat_transcripts
    where claude_session = :claude_session and project_key = :project_key and subpath <> '' order by subpath
""")

_SESSIONS = text("""
    select claude_session, max(written) as written from chat_transcripts
    where project_key = :project_key and subpath = '' group by claude_session
""")

_DELETE = text("""
    delete from chat_transcripts
    where claude_session = :claude_session and project_key = :project_key and (:whole or subpath = :subpath)
""")

_FORGET = text("delete from chat_transcripts where claude_session = :claude_session")
_FORGET_TURN = text("delete from chat_transcripts where claude_session = :claude_session and turn_id = :turn_id")
_REMAINS = text("select true from chat_transcripts where claude_session = :claude_session limit 1")


async def add_entries(
    tx: Transaction, place: Place, entries: Sequence[Mapping[str, Any]], *, turn_id: str | None = None
) -> None:
    """Add lines to a transcript; those that are there already are left as they are.

    `turn_id`: the turn that was parked after them.
    """
    if entries:
        uuids = [uuid if isinstance(uuid := entry.get("uuid"), str) else None for entry in entries]
        # Not orjson: a line may hold half of a surrogate pair, which JSON knows and UTF-8 does not.
        texts = [json.dumps(entry, separators=(",", ":")) for entry in entries]
        await tx.execute(_ADD, {**place._asdict(), "uuids": uuids, "entries": texts, "turn_id": turn_id})


async def load_entries(tx: Transaction, place: Place) -> list[Any]:
    """The lines of a transcript, in their order."""
    return [json.loads(row[0]) for row in await tx.execute(_LOAD, place._asdict())]


async def list_subpaths(tx: Transaction, project_key: str, claude_session: str) -> list[str]:
    """The parts of a conversation that have transcripts of their own."""
    asked = {"project_key": project_key, "claude_session": claude_session}
    return [row[0] for row in await tx.execute(_SUBPATHS, asked)]


async def list_sessions(tx: Transaction, project_key: str) -> list[tuple[str, int]]:
    """The conversations of a project, each with when it was last written, in milliseconds."""
    rows = await tx.execute(_SESSIONS, {"project_key": project_key})
    return [(row.claude_session, int(row.written.timestamp() * 1000)) for row in rows]


async def delete_entries(tx: Transaction, place: Place) -> None:
    """Delete a part of a conversation, or (`subpath` empty) the whole of it."""
    await tx.execute(_DELETE, {**place._asdict(), "whole": not place.subpath})


async def forget_session(tx: Transaction, claude_session: str) -> None:
    """Delete everything of a Claude session."""
    await tx.execute(_FORGET, {"claude_session": claude_session})


async def forget_turn(tx: Transaction, claude_session: str, turn_id: str) -> bool:
    """Delete what a turn that was parked has added to a Claude session; whether anything is left of that."""
    await tx.execute(_FORGET_TURN, {"claude_session": claude_session, "turn_id": turn_id})
    return (await tx.execute(_REMAINS, {"claude_session": claude_session})).first() is not None
