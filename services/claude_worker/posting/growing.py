"""A message that grows in its room while an answer is given, where the server lets bots change what they have said.

It is a foretaste: whatever goes wrong with it, the answer itself is owed to the room as any other (posting), which
then changes this message into it, or posts it anew.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from services.claude_worker.posting.campfire import Campfire
from services.claude_worker.posting.text import Piece, pieces, to_html
from services.claude_worker.store import posts, registry
from services.claude_worker.store.registry import Fenced, Ownership
from services.claude_worker.turns import Held
from shared.database import Database, is_transient
from shared.logs import get_logger

# What is gathered before the room sees anything, and how often it sees more.
FIRST_SECONDS = 0.5
EDIT_SECONDS = 1.5
# How many servers are remembered to take no changes.
_MAX_SERVERS = 1_000
log = get_logger()


class Way(NamedTuple):
    """Where an answer goes, opened: the address of the room, and the message of the user, by the server's number."""

    url: str
    after: str | None


class Growing:
    """The message of one attempt."""

    def __init__(self, server: "Servers", ownership: Ownership, held: Held, way: Way) -> None:
        self._server = server
        self._ownership = ownership
        self._held = held
        self._way = way
        self._text = ""
        self._is_closed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def add(self, piece: str) -> None:
        """A piece of the answer has come."""
        self._text += piece
        if self._task is None:
            self._task = self._server.keep(self._held.turn.turn_id, self._grow())

    def close(self) -> None:
        """The answer is whole, or will not be: what is under way is the last request."""
        self._is_closed.set()

    async def _grow(self) -> None:
        try:
            await self._show()
        except Fenced:
            pass  # whoever has the room now shows what he answers
        except Exception as error:
            if not is_transient(error):
                log.exception("message_does_not_grow", turn_id=self._held.turn.turn_id)

    async def _show(self) -> None:
        turn, campfire = self._held.turn, self._server.campfire
        shown: Piece = ()
        ref = None
        pause = FIRST_SECONDS
        while not await self._closed_within(pause):
            pause = EDIT_SECONDS
            # What is beyond the first of its messages comes with the answer.
            now = next(iter(pieces(self._text)), ())
            if not now or now == shown:
                continue
            async with self._server.database.transaction() as tx:
                await registry.hold(tx, self._ownership)
                if not shown:
                    if await posts.waits(tx, self._ownership.partition, turn.room_id, turn.bot_id):
                        continue
                    is_there, ref = await posts.find_draft(tx, turn.turn_id)
                    if is_there and ref is None:
                        return
                    await posts.begin_draft(tx, turn.turn_id)
            url, html = self._way.url, to_html(now)
            posted = await (campfire.edit(url, ref, html) if ref else campfire.post(url, html))
            if posted.what == "sent" and (ref := ref or posted.ref):
                if not shown:
                    await self._save(ref)
                shown = now
            elif posted.what == "again" and (ref or posted.unsure):
                if ref is None:
                    # It may be there: who posts the answer looks for it.
                    return
            else:
                await self._save(None)
                if posted.status in (404, 405) or posted.what == "sent":
                    self._server.takes_no_changes(url)
                return

    async def _save(self, ref: str | None) -> None:
        async with self._server.database.transaction() as tx:
            await posts.save_draft(tx, self._held.turn.turn_id, ref)

    async def _closed_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._is_closed.wait()
        except TimeoutError:
            return False
        return True


class Servers:
    """What growing messages share: the servers that take no changes, and which turn's message is under way."""

    def __init__(self, database: Database, campfire: Campfire) -> None:
        self.database = database
        self.campfire = campfire
        self._without: set[str] = set()
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def grow(self, ownership: Ownership, held: Held, way: Way) -> Growing | None:
        """The message of an attempt; None where the server is known to take no changes."""
        return None if urlsplit(way.url).netloc in self._without else Growing(self, ownership, held, way)

    def takes_no_changes(self, url: str) -> None:
        """A server has refused one."""
        server = urlsplit(url).netloc
        log.info("messages_do_not_grow", server=server, hint="it lets bots change nothing; answers are posted whole")
        if len(self._without) < _MAX_SERVERS:
            self._without.add(server)

    def keep(self, turn_id: str, work: "Awaitable[None]") -> "asyncio.Task[None]":
        """Let a message grow."""
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._under_way[turn_id] = task

        def done(task: "asyncio.Task[None]") -> None:
            if self._under_way.get(turn_id) is task:
                del self._under_way[turn_id]

        task.add_done_callback(done)
        return task

    async def settled(self, turn_id: str) -> None:
        """Wait for the last request of a turn's message."""
        if (task := self._under_way.get(turn_id)) is not None:
            await asyncio.wait([task])


OnText = Callable[[str], None]


def both(*listeners: OnText | None) -> OnText | None:
    """One that tells all of them; None if there are none."""
    told = [each for each in listeners if each is not None]
    if len(told) < 2:
        return told[0] if told else None

    def tell(piece: str) -> None:
        for each in told:
            each(piece)

    return tell
