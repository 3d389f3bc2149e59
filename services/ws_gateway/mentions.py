"""Mentions: each reaches its agent at last, live or on its next connection, in order, and on one connection once.

A mention is kept by the session worker until it has reached its agent: until a client of that agent acknowledged it, or
answered a ping that was sent behind it. The hub pushes the live ones; here is noted who has been given what.
"""

import asyncio
import random
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from services.ws_gateway.frames import Frame, text_frame
from services.ws_gateway.posting import Posting
from services.ws_gateway.requests import Ack
from shared.errors import BusError, Rejected
from shared.logs import get_logger
from shared.messages.sidebar import KeptMention, MentionRoute

if TYPE_CHECKING:
    from services.ws_gateway.client import Client
    from services.ws_gateway.gateway import Gateway
    from services.ws_gateway.intake import Intake

# Asked for at once, and by how many connections at the same time.
PAGE = 50
ASKING = 32
# How long to wait before asking again: at first, and at most.
RETRY_SECONDS, LONGEST_RETRY_SECONDS = 0.5, 10.0
# How often it is looked whether a full socket has room.
ROOM_SECONDS = 0.2
# What was given to a connection, so that it does not come twice: twice as many as wait for an agent at most.
REMEMBERED = 2_000
# Mentions whose event has passed; one so young whose event has not is still on its way, and waited for.
SEEN = 20_000
YOUNG_SECONDS = 5.0
# Those that have reached their agents: what goes in one command, how long the first waits, how many wait at most.
MARKED, MARK_SECONDS, MARKS = 1_000, 0.5, 100_000

# Asks a reading command for the text of its result; sends an internal command under a message id.
Query = Callable[[str, dict[str, Any]], Awaitable[bytes]]
Command = Callable[[str, dict[str, Any], str], Awaitable[None]]

log = get_logger()


class _Page(msgspec.Struct):
    mentions: list[dict[str, Any]]


_PAGE = msgspec.json.Decoder(_Page)


class _Book:
    """What one connection was given, and what of that its client has not said to have read."""

    __slots__ = ("counts", "dropped", "given", "unpinged", "unread")

    def __init__(self, *, counts: bool) -> None:
        # Whether what reaches this connection has reached the agent.
        self.counts = counts
        self.given: OrderedDict[str, None] = OrderedDict()
        # By the ping that was sent behind them; and those behind which none was sent yet, with how many events the
        # connection had lost before the first of them.
        self.unread: deque[tuple[int, list[str]]] = deque()
        self.unpinged: list[str] = []
        self.dropped = 0

    def give(self, mention_id: str, dropped: int) -> bool:
        """Note that a mention goes out now; false when it did before."""
        if mention_id in self.given:
            return False
        self.given[mention_id] = None
        if len(self.given) > REMEMBERED:
            self.given.popitem(last=False)
        if self.counts:
            if not self.unpinged:
                self.dropped = dropped
            self.unpinged.append(mention_id)
        return True


class Mentions:
    """Sees to the mentions of everyone who is connected here."""

    def __init__(self, gateway: "Gateway", intake: "Intake", query: Query, command: Command) -> None:
        async def send(mention_ids: Sequence[Any], message_id: str) -> None:
            await command("mark_mentions", {"mention_ids": list(mention_ids)}, message_id)

        self.posting = Posting("mentions_reached", send, at_most=MARKED, wait_s=MARK_SECONDS, room=MARKS)
        self._query = query
        self._books: dict[Client, _Book] = {}
        self._by_agent: dict[str, dict[Client, None]] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()
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
        client.spawn(self._bring(client, client.identity.agent_id))

    def _released(self, client: "Client") -> None:
        self._books.pop(client, None)
        if client.identity and (clients := self._by_agent.get(client.identity.agent_id)):
            clients.pop(client, None)
            if not clients:
                del self._by_agent[client.identity.agent_id]

    def _book(self, client: "Client") -> _Book:
        book = self._books.get(client)
        if book is None:
            identity = client.identity
            counts = identity is not None and (identity.permission == "active" or identity.kind == "human")
            book = self._books[client] = _Book(counts=counts)
        return book

    def _look(self, frame: Frame) -> None:
        """A live mention is about to be pushed to the connections of its agent."""
        self._seen[frame.message_id] = None
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)
        for client in [client for agent_id in frame.to_agents for client in self._by_agent.get(agent_id, ())]:
            self._book(client).give(frame.message_id, client.connection.backlog.dropped)
            # Behind the event, which goes out before this turn of the loop ends.
            asyncio.get_running_loop().call_soon(self._ping, client)

    def _ping(self, client: "Client") -> None:
        """Ping behind what was given, unless that still waits for room in the socket."""
        book = self._books.get(client)
        if book is None or not book.unpinged or client.closing or client.connection.paused:
            return
        if client.connection.backlog.dropped != book.dropped:
            # Some of it may be among what was dropped: whatever was not read is given anew.
            for mention_id in book.unpinged:
                book.given.pop(mention_id, None)
            book.unpinged = []
            assert client.identity is not None
            client.spawn(self._bring(client, client.identity.agent_id))
            return
        given, book.unpinged = book.unpinged, []
        book.unread.append((client.ping_now(), given))

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
        self.posting.add(mention_id, mention_id)

    async def _bring(self, client: "Client", agent_id: str) -> None:
        """Give a connection what has waited for its agent, page after page."""
        after: str | None = None
        while True:
            page = await self._page(agent_id, after)
            for mention in page:
                await self._give(client, mention)
            self._ping(client)
            if len(page) < PAGE:
                return
            after = page[-1].mention_id

    async def _give(self, client: "Client", mention: KeptMention) -> None:
        while client.connection.paused:  # noqa: ASYNC110 (the hub knows no event loop)
            await asyncio.sleep(ROOM_SECONDS)
        if mention.mention_id not in self._seen:
            await self._wait_for_event(mention)
        if self._book(client).give(mention.mention_id, client.connection.backlog.dropped):
            client.send(text_frame(route_of(mention).encoded()))

    async def _wait_for_event(self, mention: KeptMention) -> None:
        """Wait for the event of a mention made just now: the hub gives it then, in its place among the others."""
        made = datetime.fromisoformat(mention.created).timestamp()
        due = min(made + YOUNG_SECONDS, time.time() + YOUNG_SECONDS)
        while mention.mention_id not in self._seen and time.time() < due:  # noqa: ASYNC110
            await asyncio.sleep(ROOM_SECONDS)

    async def _page(self, agent_id: str, after: str | None) -> list[KeptMention]:
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
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))
            wait = min(2 * wait, LONGEST_RETRY_SECONDS)


def route_of(mention: KeptMention) -> MentionRoute:
    """The event that told of a mention when it was made, as far as that is kept."""
    return MentionRoute(
        message_id=mention.mention_id,
        timestamp=mention.created,
        sender_agent_id=mention.author,
        session_id=mention.session_id,
        sidebar_id=mention.sidebar_id,
        priority=mention.priority,
        hops=mention.hops,
        trust=mention.trust,
        agent_id=mention.agent_id,
        mention=mention,
        target_agents=mention.target_agents,
        message=mention.message,
        context_refs=mention.context_refs,
        participants=None,
    )
