"""Mentions: each reaches its agent at last, live or on its next connection, in order, and on one connection once.

A mention is kept by the session worker until it has reached its agent: until a client of that agent acknowledged it, or
answered a ping that was sent behind it. The hub pushes the live ones; here is noted who has been given what.
"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from services.ws_gateway.delivery.mention_books import Book, route_of, without_cursor
from services.ws_gateway.fanout.hub import JOIN_BYTES
from services.ws_gateway.posting import Posting
from services.ws_gateway.requests import Ack
from services.ws_gateway.stream.frames import Frame, text_frame
from shared.errors import BusError, Rejected
from shared.logs import get_logger
from shared.messages.mentions import KeptMention

if TYPE_CHECKING:
    from services.ws_gateway.client import Client
    from services.ws_gateway.gateway import Gateway
    from services.ws_gateway.stream.intake import Intake

# Asked for at once, and by how many connections at the same time.
PAGE = 50
ASKING = 32
# How long to wait before asking again: at first, and at most.
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 10.0
# How often it is looked whether a full socket has room.
ROOM_SECONDS = 0.2
# Mentions of all agents together of which it is remembered that their event has come, or that they were read.
REMEMBERED_OF_ALL = 20_000
# A mention so young whose event has not come is still on its way.
YOUNG_SECONDS = 5.0
# Those that have reached their agents: what goes in one command, how long the first waits, how many wait at most.
MARKED, MARK_SECONDS, MARKS = 1_000, 0.2, 100_000

# Asks a reading command for the text of its result; sends an internal command under a message id.
Query = Callable[[str, dict[str, Any]], Awaitable[bytes]]
Command = Callable[[str, dict[str, Any], str], Awaitable[None]]

log = get_logger()


class _Page(msgspec.Struct):
    mentions: list[dict[str, Any]]


_PAGE = msgspec.json.Decoder(_Page)


class Mentions:
    """Sees to the mentions of everyone who is connected here."""

    def __init__(self, gateway: "Gateway", intake: "Intake", query: Query, command: Command) -> None:
        async def send(mention_ids: Sequence[Any], message_id: str) -> None:
            await command("mark_mentions", {"mention_ids": list(mention_ids)}, message_id)
            self.reached += len(mention_ids)

        self.posting = Posting("mentions_reached", send, at_most=MARKED, wait_s=MARK_SECONDS, room=MARKS)
        self._query = query
        # What has waited and was given, and how many mentions have reached their agents.
        self.brought = self.reached = 0
        gateway.metrics.readings.count("mentions_brought", "Kept mentions given to connections", lambda: self.brought)
        gateway.metrics.readings.count("mentions_reached", "Mentions noted as read", lambda: self.reached)
        self._books: dict[Client, Book] = {}
        self._by_agent: dict[str, dict[Client, None]] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
        # Those that have reached their agents, of which the worker may not have heard yet.
        self._done: OrderedDict[str, None] = OrderedDict()
        self._bringing: set[Client] = set()
        self._asking = asyncio.Semaphore(ASKING)
        intake.watch("mention_route", self._look)
        gateway.on_seated.append(self._seated)
        gateway.on_released.append(self._released)
        gateway.on_ack.append(self._acknowledged)
        gateway.on_pong.append(self._ponged)
        gateway.on_beat.append(self._beat)

    def _seated(self, client: "Client") -> None:
        assert client.identity is not None
        self._by_agent.setdefault(client.identity.agent_id, {})[client] = None
        self._begin(client, client.identity.agent_id)

    def _begin(self, client: "Client", agent_id: str) -> None:
        # At once, not when the task first runs: a live one that comes in between would be given before what has waited.
        self._bringing.add(client)
        client.spawn(self._bring(client, agent_id))

    def _released(self, client: "Client") -> None:
        self._books.pop(client, None)
        self._bringing.discard(client)
        if client.identity and (clients := self._by_agent.get(client.identity.agent_id)):
            clients.pop(client, None)
            if not clients:
                del self._by_agent[client.identity.agent_id]

    def _book(self, client: "Client") -> Book:
        book = self._books.get(client)
        if book is None:
            identity = client.identity
            counts = identity is not None and (identity.permission == "active" or identity.kind == "human")
            book = self._books[client] = Book(counts=counts)
        return book

    def _look(self, frame: Frame) -> None:
        """A live mention is about to be pushed to the connections of its agent."""
        mention_id = frame.message_id
        _remember(self._seen, mention_id)
        for client in [client for agent_id in frame.to_agents for client in self._by_agent.get(agent_id, ())]:
            book, connection = self._book(client), client.connection
            if client in self._bringing and not connection.listens and mention_id not in book.given:
                book.held.append(frame)
                _withhold(client, mention_id)
            else:
                book.give(mention_id, connection.backlog.dropped)
            # Behind the event, which goes out before this turn of the loop ends.
            asyncio.get_running_loop().call_soon(self._pushed, client, mention_id)

    def _pushed(self, client: "Client", mention_id: str) -> None:
        if client.connection.withheld is not None:
            client.connection.withheld.discard(mention_id)
        self._ping(client)

    def _ping(self, client: "Client") -> None:
        """Write what is to be written and ping behind what was given, unless that still waits for room in the socket.

        Together: whoever has read a mention has most likely answered the ping, however soon it leaves.
        """
        book = self._books.get(client)
        if book is None or client.closing:
            return
        out = b"".join(book.out)
        book.out.clear()
        if not book.unpinged or client.connection.paused:
            if out:
                client.send(out)
            return
        if client.connection.backlog.dropped != book.dropped:
            # Some of it may be among what was dropped: whatever was not read is given anew.
            for mention_id in book.unpinged:
                book.given.pop(mention_id, None)
            book.unpinged = []
            assert client.identity is not None
            client.send(out)
            self._begin(client, client.identity.agent_id)
            return
        given, book.unpinged = book.unpinged, []
        book.unread.append((client.ping_now(out), given))

    def _beat(self) -> None:
        for client, book in list(self._books.items()):
            if book.unpinged:
                self._ping(client)

    def _ponged(self, client: "Client") -> None:
        book = self._books.get(client)
        if book is None:
            return
        while book.unread and book.unread[0][0] <= client.pulse.answered:
            for mention_id in book.unread.popleft()[1]:
                self._reached(mention_id)

    def _acknowledged(self, client: "Client", ack: Ack) -> None:
        book = self._books.get(client)
        mention_id = ack.message_id
        if mention_id is not None and book is not None and book.counts and mention_id in book.given:
            self._reached(mention_id)

    def _reached(self, mention_id: str) -> None:
        _remember(self._done, mention_id)
        self.posting.add(mention_id, mention_id)

    async def _bring(self, client: "Client", agent_id: str) -> None:
        """Give a connection what has waited for its agent, page after page, and then what came meanwhile."""
        after: str | None = None
        page: list[KeptMention] = []
        try:
            while after is None or len(page) == PAGE:
                page = await self._page(client, agent_id, after)
                for mention in page:
                    await self._give(client, mention)
                self._ping(client)
                if not page:
                    break
                after = page[-1].mention_id
        finally:
            self._give_held(client)

    def _give_held(self, client: "Client") -> None:
        """Give what came while older ones were asked for; from here on each is given when it comes."""
        self._bringing.discard(client)
        book = self._books.get(client)
        if book is None:
            return
        held, book.held = book.held, []
        for frame in held:
            if book.give(frame.message_id, client.connection.backlog.dropped):
                book.out.append(text_frame(without_cursor(frame)))
        self._ping(client)

    async def _give(self, client: "Client", mention: KeptMention) -> None:
        book = self._book(client)
        if client.connection.paused or sum(map(len, book.out)) > JOIN_BYTES:
            self._ping(client)
        while client.connection.paused:  # noqa: ASYNC110 (the hub knows no event loop)
            await asyncio.sleep(ROOM_SECONDS)
        if mention.mention_id in self._done:
            return
        if self._is_on_its_way(mention):
            if client.connection.listens:
                # The hub gives it then, in its place among the others.
                self._ping(client)
                await self._event_of(mention)
            else:
                _withhold(client, mention.mention_id)
        if book.give(mention.mention_id, client.connection.backlog.dropped):
            self.brought += 1
            book.out.append(text_frame(route_of(mention).encoded()))

    def _is_on_its_way(self, mention: KeptMention) -> bool:
        """Whether a mention was made just now, and its event has not come yet."""
        age_s = time.time() - datetime.fromisoformat(mention.created).timestamp()
        return mention.mention_id not in self._seen and abs(age_s) < YOUNG_SECONDS

    async def _event_of(self, mention: KeptMention) -> None:
        while self._is_on_its_way(mention):  # noqa: ASYNC110 (it may never come)
            await asyncio.sleep(ROOM_SECONDS)

    async def _page(self, client: "Client", agent_id: str, after: str | None) -> list[KeptMention]:
        """The next mentions that wait for an agent; asked for until there is an answer."""
        wait = RETRY_SECONDS
        while True:
            try:
                async with self._asking:
                    text = await self._query("list_mentions", {"agent_id": agent_id, "limit": PAGE, "after": after})
                return [KeptMention.model_validate(mention) for mention in _PAGE.decode(text).mentions]
            except (BusError, TimeoutError):
                pass
            except (Rejected, ValueError, msgspec.MsgspecError) as fault:
                # The last two: an answer of a worker of another version.
                log.warning("mentions_not_listed", agent_id=agent_id, reason=str(fault))
            # Those that come now must not wait for the others, who knows how long.
            self._give_held(client)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, LONGEST_RETRY_SECONDS)


def _remember(ids: OrderedDict[str, None], mention_id: str) -> None:
    ids[mention_id] = None
    if len(ids) > REMEMBERED_OF_ALL:
        ids.popitem(last=False)


def _withhold(client: "Client", mention_id: str) -> None:
    """Have the hub not push a mention to this connection."""
    withheld = client.connection.withheld
    if withheld is None or len(withheld) > PAGE:
        withheld = client.connection.withheld = set()
    withheld.add(mention_id)
