"""The questions for a session's timeline, and for pages of it to be replayed."""

import asyncio
import re
from datetime import datetime
from typing import Any

from services.session_worker.queries.event_log import with_cursor
from services.session_worker.store import timeline as store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import invalid, not_found
from shared.messages import Command
from shared.messages.reading import GetTimeline, ReplayPage
from shared.pages import cursor_after, sort_key

# The recorder writes what the stream brings every 100 ms.
LOOK_AGAIN_SECONDS = 0.03
# Each of those that wait keeps a connection from other questions.
MAX_WAITING = 3
_LAST_CURSOR = 2**63 - 1
# A `session_seq` and a cursor; no more digits than fit 64 bits.
_PLACE = re.compile(r"\d{1,18}-\d{1,18}")


class Timeline:
    """Answers with what is recorded of a session, and waits a little for what is on its way."""

    def __init__(self) -> None:
        self._waiting = 0

    async def get_timeline(self, tx: Transaction, command: Command) -> dict[str, Any]:
        """A page of a session's events, the oldest first, each with its cursor spliced in."""
        asked: GetTimeline = command.data
        seq, cursor, timestamp, first_seq = sort_key(asked.cursor, int, int, datetime, int) or (0, 0, None, None)
        session = await store.find_counted(tx, asked.session_id)
        if session is None:
            raise not_found("session", asked.session_id)
        after = store.Place(seq, cursor, timestamp or session.created)
        viewer = None if command.by_admin else command.sender_agent_id
        page = await store.list_entries(tx, asked.session_id, asked.types, viewer, after, asked.limit)
        # A page with another one behind it is whole, whatever is still missing at the end.
        if page.next is None or first_seq is None:
            recorded = await store.find_recorded(tx, asked.session_id, session.created)
            # What is missing of a quiet session is no longer kept, or was never here: it was imported.
            if page.next is None and (recorded.last_seq or 0) < session.last_seq and not session.quiet:
                recorded = await self._wait(tx, asked.session_id, session, asked.wait_s)
                page = await store.list_entries(tx, asked.session_id, asked.types, viewer, after, asked.limit)
            first_seq = recorded.first_seq
        return {
            "entries": [with_cursor(entry.body, entry.cursor) for entry in page.entries],
            "first_seq": first_seq,
            "last_seq": session.last_seq,
            # With what the next page needs not look for again.
            "next": cursor_after(*page.next, first_seq or 0) if page.next else None,
        }

    async def replay_page(self, tx: Transaction, command: Command) -> dict[str, Any]:
        """A page of a session's events with their places and times."""
        asked: ReplayPage = command.data
        session = await store.find_counted(tx, asked.session_id)
        if session is None:
            raise not_found("session", asked.session_id)
        last_seq = asked.until_seq
        if last_seq is None:
            recorded = await store.find_recorded(tx, asked.session_id, session.created)
            if (recorded.last_seq or 0) < session.last_seq and not session.quiet:
                recorded = await self._wait(tx, asked.session_id, session, GetTimeline.model_fields["wait_s"].default)
            last_seq = recorded.last_seq or 0
        after = await _begins_after(tx, asked, session.created)
        if after is None or after.seq > last_seq:
            return {"events": [], "places": [], "at": [], "last_seq": last_seq, "next": None}
        viewer = None if command.by_admin else command.sender_agent_id
        page = await store.list_entries(tx, asked.session_id, None, viewer, after, asked.limit)
        entries = [entry for entry in page.entries if entry.seq <= last_seq]
        goes_on = page.next is not None and page.next.seq <= last_seq and len(entries) == len(page.entries)
        return {
            "events": [with_cursor(entry.body, entry.cursor) for entry in entries],
            "places": [f"{entry.seq}-{entry.cursor}" for entry in entries],
            "at": [entry.timestamp.timestamp() for entry in entries],
            "last_seq": last_seq,
            "next": cursor_after(*page.next) if page.next and goes_on else None,
        }

    async def _wait(self, tx: Transaction, session_id: str, session: store.Counted, seconds: float) -> store.Recorded:
        """What is recorded once the session's last event is, or when the time is up."""
        if self._waiting >= MAX_WAITING:
            seconds = 0
        self._waiting += 1
        try:
            clock = asyncio.get_running_loop().time
            end = clock() + seconds
            while True:
                recorded = await store.find_recorded(tx, session_id, session.created)
                if (recorded.last_seq or 0) >= session.last_seq or clock() >= end:
                    return recorded
                await asyncio.sleep(LOOK_AGAIN_SECONDS)
        finally:
            self._waiting -= 1


async def _begins_after(tx: Transaction, asked: ReplayPage, created: datetime) -> store.Place | None:
    """The place behind which a page begins; None when nothing is left there."""
    if asked.cursor is not None:
        return store.Place(*sort_key(asked.cursor, int, int, datetime))
    if asked.after is not None:
        if not _PLACE.fullmatch(asked.after):
            raise invalid("`after` is not the place of an event of a replay", after=asked.after)
        given, _, cursor = asked.after.partition("-")
        return store.Place(int(given), int(cursor), created)
    seq = asked.from_seq or 0
    if asked.since is not None:
        moment = max(datetime.fromisoformat(asked.since), created)
        first = await store.find_first_since(tx, asked.session_id, moment)
        return None if first is None else store.Place(max(seq, first) - 1, _LAST_CURSOR, moment)
    return store.Place(max(seq - 1, 0), _LAST_CURSOR if seq else 0, created)


TIMELINE = Timeline()
QUERIES: dict[str, QueryHandler] = {"get_timeline": TIMELINE.get_timeline, "replay_page": TIMELINE.replay_page}
