"""A replay: older events for one connection, in order, until it has caught up and joins the live ones. Free of I/O."""

from collections import OrderedDict, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto

from services.ws_gateway.fanout.hub import JOIN_BYTES, Connection, Hub
from services.ws_gateway.fanout.interest import EVERYTHING, Interest, may_hear
from services.ws_gateway.stream.frames import CRITICAL, Frame, gap

# Events looked at before others get their turn; fewer, where more than their topic is looked at.
STRIDE, CAREFUL_STRIDE = 1000, 200
# Copies of an event lie close together in the log: a worker died between publishing and noting it.
REMEMBERED_IDS = 10_000


@dataclass(frozen=True, slots=True)
class Claim:
    """What a connection asked for: the matching events after a cursor, for ever or up to another."""

    interest: Interest
    after: int
    until: int | None = None

    def holds(self, cursor: int) -> bool:
        """Whether an event with this cursor lies within the claim."""
        return self.after < cursor and (self.until is None or cursor <= self.until)


@dataclass(frozen=True, slots=True)
class Gap:
    """Cursors, both included, among which matching events are missing."""

    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    """A piece of the log from outside the ring, after what the replay has: its events, and up to where it reaches.

    `missing` comes before the frames. `overlap` holds the ids of events just before the page.
    """

    frames: list[Frame]
    until: int
    missing: Gap | None = None
    overlap: Iterable[str] = ()


class State(Enum):
    """What a replay waits for."""

    LIVE = auto()  # nothing: it is over, the connection has joined the live events
    FULL = auto()  # room in the socket
    TURN = auto()  # its next turn
    PAGE = auto()  # a page of events that are no longer in the ring


class Replay:
    """Gives a connection what its claims hold, the oldest first, and lets it join the live events at the end."""

    def __init__(self, hub: Hub, connection: Connection, claims: list[Claim]) -> None:
        self._hub = hub
        self._connection = connection
        self.claims = claims
        # Everything up to here has been looked at; of that, `_chosen` is still to be written.
        self._looked_at = min((claim.after for claim in claims), default=hub.cursor)
        self._chosen: deque[Frame] = deque()
        # Ids of the events given, once pages came from outside the ring; the ring itself holds no copies.
        self._seen: OrderedDict[str, None] | None = None
        self.sources: set[str] = set()
        self._is_careful = any(claim.interest.is_own or claim.interest.is_focused for claim in claims)
        self._is_own = any(claim.interest.is_own for claim in claims)
        self._began_at = hub.cursor
        connection.position = lambda: self.position

    @property
    def position(self) -> int:
        """Everything up to this cursor has been given."""
        return self._chosen[0].cursor - 1 if self._chosen else self._looked_at

    @property
    def is_deep(self) -> bool:
        """Whether it has read from outside the ring."""
        return bool(self.sources - {"ring"})

    def step(self) -> State:
        """Write what can be written now; says what to wait for before the next step."""
        turns = 2
        while True:
            covered = self._hub.ring.covers(self._looked_at)
            if covered and not self._chosen and self._looked_at >= self._hub.cursor:
                self._finish()
                return State.LIVE
            if self._connection.paused:
                return State.FULL
            if self._chosen:
                self._write()
            elif not covered:
                return State.PAGE
            elif turns == 0:
                return State.TURN
            else:
                turns -= 1
                self.sources.add("ring")
                frames = self._hub.ring.after(self._looked_at, CAREFUL_STRIDE if self._is_careful else STRIDE)
                self._choose(frames, frames[-1].cursor if frames else self._hub.cursor)

    def feed(self, page: Page) -> None:
        """Take the page that was asked for; it begins right after `position`."""
        self._seen = OrderedDict() if self._seen is None else self._seen
        if page.missing:
            self.tell(page.missing)
        for message_id in page.overlap:
            self._note(message_id)
        self._choose(page.frames, page.until)

    def tell(self, missing: Gap) -> None:
        """Tell the client what it does not get."""
        self._hub.gaps += 1
        self._connection.write(gap(missing.first, missing.last, missing.reason))

    def _choose(self, frames: list[Frame], until: int) -> None:
        if self._is_own:
            # First of all: the last event of a session may be the one that names who took part in it.
            for frame in frames:
                self._hub.relevance.learn_of(frame, self._connection.agent_id)
        self._chosen.extend(frame for frame in frames if self._wants(frame) and self._note(frame.message_id))
        self._looked_at = until

    def _wants(self, frame: Frame) -> bool:
        connection, relevance = self._connection, self._hub.relevance
        if frame.cursor in connection.overtook:
            return False
        wanted = any(
            claim.holds(frame.cursor)
            and claim.interest.matches(frame.routing_key)
            and claim.interest.admits(frame, connection.agent_id, relevance)
            for claim in self.claims
        )
        frame.forget_words()
        return wanted and may_hear(frame, connection.agent_id, connection.is_admin)

    def _write(self) -> None:
        """Write some of the chosen events."""
        run = [self._chosen.popleft()]
        size = len(run[0].data)
        while self._chosen and size + len(self._chosen[0].data) <= JOIN_BYTES:
            size += len(self._chosen[0].data)
            run.append(self._chosen.popleft())
        self._connection.count(len(run))
        self._hub.frames_out += len(run)
        self._connection.write(b"".join([frame.data for frame in run]))
        if self._hub.on_critical:
            for frame in run:
                # Of older ones nobody waits for an acknowledgement any more.
                if frame.rank == CRITICAL and frame.cursor > self._began_at:
                    self._hub.on_critical([self._connection], frame)

    def _note(self, message_id: str) -> bool:
        """Remember an event's id; false when it was there before."""
        if self._seen is None or not message_id:
            return True
        if message_id in self._seen:
            return False
        self._seen[message_id] = None
        if len(self._seen) > REMEMBERED_IDS:
            self._seen.popitem(last=False)
        return True

    def _finish(self) -> None:
        self._hub.join(self._connection, lasting_interest(self.claims))

    def wanted_topics(self) -> tuple[frozenset[str], int | None]:
        """Which topics are asked for right after `position`, and up to which cursor that stays so."""
        now = [claim for claim in self.claims if claim.holds(self.position + 1)]
        turns = [claim.after for claim in self.claims if claim.after > self.position]
        turns += [claim.until for claim in now if claim.until is not None]
        patterns = {pattern for claim in now for pattern in claim.interest.topics}
        return frozenset(patterns), min(turns, default=None)

    def open_claims(self) -> list[Claim]:
        """What is still to be given, as claims from `position` on."""
        return [
            replace(claim, after=max(claim.after, self.position))
            for claim in self.claims
            if claim.until is None or claim.until > self.position
        ]


def lasting_interest(claims: Iterable[Claim]) -> Interest:
    """What is claimed for ever, as one interest."""
    lasting = [claim.interest for claim in claims if claim.until is None]
    if len(lasting) == 1:
        return lasting[0]
    topics = frozenset(pattern for interest in lasting for pattern in interest.topics)
    return lasting[0].of(topics) if lasting else EVERYTHING
