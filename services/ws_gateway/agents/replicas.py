"""One gateway's side of the gossip about who is connected where: who of the others is alive, and has what. Free of I/O.

A gateway numbers its changes (`version`); whoever misses one asks for all of it. It is dead when nothing has come from
it for a while though one's own messages come back; then its seats are void. Should it speak after all (it was stopped,
or cut off), it is told so and begins a new incarnation, in which its seats are the newest. (So does SWIM: Das, Gupta,
Motivala, 2002.)
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from services.ws_gateway.agents.bulletins import Ask, Beat, Bye, Delta, Full, Message, decode, deltas, encode, fulls
from services.ws_gateway.agents.peer import Peer
from services.ws_gateway.agents.roster import Roster, Seat, Words
from shared.logs import get_logger

BEAT_SECONDS = 0.5
DEAD_SECONDS = 1.5
# As long as this gateway hears itself at least this often, the silence of another is the other's.
ECHO_SECONDS = 0.9
# After a connection to the broker, the others have this long to be heard of before they are led, or taken for dead.
JOIN_SECONDS = 1.5
RECONNECT_PATIENCE_SECONDS = 3.0
UNSYNCED_PATIENCE_SECONDS = 5.0
ASK_SECONDS = 1.0
FULL_SECONDS = 60.0
ABOUT_SECONDS = 5.0
MAX_GATEWAYS = 256
REMEMBERED_VOID = 1_000

log = get_logger()


class Replicas:
    """This gateway's side of the gossip: takes what is heard, keeps the roster right, and gives what is to be sent.

    `now` is a clock that never goes back; `time_of_day` gives seconds since 1970.
    """

    def __init__(self, gateway_id: str, roster: Roster, time_of_day: Callable[[], float]) -> None:
        self.gateway_id = gateway_id
        self._roster = roster
        self._time_of_day = time_of_day
        # Gives the event by which others were told what is so of an agent, if they were.
        self.told_by: Callable[[str], str | None] = lambda agent_id: None
        # Hears of such events from other gateways, by agent.
        self.on_told: Callable[[dict[str, str]], None] = lambda told: None
        # What the status display shows of this gateway.
        self.about: Callable[[], dict[str, Any]] = dict
        self.incarnation = 1
        self._version = 0
        self._peers: dict[str, Peer] = {}
        self._void: OrderedDict[str, int] = OrderedDict()
        self._notices: set[tuple[str, int]] = set()
        self._new: dict[str, Seat] = {}
        self._free: dict[str, None] = {}
        self._said: dict[str, None] = {}
        self._connected = False
        self._joined_at: float | None = None
        self._echo_at: float | None = None
        self._beat_at = self._full_at = self._about_at = float("-inf")
        self._asks = False
        self._owes_full = False

    def seat(self, seat: Seat, words: Words) -> None:
        """Somebody has a seat here."""
        self._roster.put(self.gateway_id, seat)
        self._free.pop(seat.connection_id, None)
        self._new[seat.connection_id] = seat
        self.say(words)

    def release(self, connection_id: str) -> None:
        """A seat here is free."""
        self._roster.take(self.gateway_id, connection_id)
        self._new.pop(connection_id, None)
        self._free[connection_id] = None

    def say(self, words: Words) -> None:
        """What is known here of an agent."""
        self._roster.say(self.gateway_id, words)
        self._said[words.agent_id] = None

    @property
    def alive(self) -> list[str]:
        """The gateways that are alive, this one among them."""
        return sorted([self.gateway_id, *self._peers])

    def described(self) -> list[dict[str, Any]]:
        """What the status display shows of the gateways that are alive, each with its `gateway_id`."""
        known = {gateway_id: peer.about for gateway_id, peer in self._peers.items()} | {self.gateway_id: self.about()}
        return [{**about, "gateway_id": gateway_id} for gateway_id, about in sorted(known.items())]

    def heard(self, gateway_id: str) -> float:
        """When a gateway was last heard of; of this one, that is always now."""
        peer = self._peers.get(gateway_id)
        return float("inf") if peer is None else peer.heard

    def hears_itself(self, now: float) -> bool:
        """Whether what this gateway says goes round, so that it is not cut off."""
        return self._connected and self._echo_at is not None and now - self._echo_at < ECHO_SECONDS

    def is_settled(self, now: float) -> bool:
        """Whether it is known who is alive and what they have."""
        return (
            self.hears_itself(now)
            and self._joined_at is not None
            and now - self._joined_at >= JOIN_SECONDS
            and all(
                peer.applied is not None or now - peer.first_heard > UNSYNCED_PATIENCE_SECONDS
                for peer in self._peers.values()
            )
        )

    def leads(self) -> bool:
        """Whether, of those who may tell, this gateway has the lowest id; to be asked only of one that may."""
        return all(self.gateway_id < gateway_id for gateway_id, peer in self._peers.items() if peer.may_tell)

    def connect(self) -> None:
        """There is a connection to the broker: say all, ask all."""
        self._connected = True
        self._joined_at = self._echo_at = None
        self._asks = self._owes_full = True
        self._beat_at = self._full_at = float("-inf")

    def disconnect(self) -> None:
        """The connection is lost: what is known of the others stays as it is."""
        self._connected = False

    def hear(self, body: bytes, now: float) -> None:
        """A message has come; one that is none is told to the log, and that is all."""
        try:
            message = decode(body)
        except ValueError as fault:
            log.warning("gossip_unreadable", reason=str(fault)[:200], bytes=len(body))
            return
        if isinstance(message, Beat):
            # Also from one that is void here: two that take each other for dead would else never hear of it.
            for gateway_id, incarnation in message.void:
                if gateway_id == self.gateway_id and incarnation >= self.incarnation:
                    self._begin_anew(incarnation + 1)
        if message.gateway_id == self.gateway_id:
            self._hear_myself(message, now)
        elif (peer := self._peer(message, now)) is not None:
            peer.heard = now
            self._take(message, peer, now)

    def _hear_myself(self, message: Message, now: float) -> None:
        if message.incarnation != self.incarnation or not self._connected:
            return
        if self._joined_at is None:
            self._joined_at = now
            self._pardon(now + RECONNECT_PATIENCE_SECONDS)
        elif self._echo_at is None or now - self._echo_at >= ECHO_SECONDS:
            # This process or the broker stood still: who was silent meanwhile may have had no choice.
            self._pardon(now)
        self._echo_at = now

    def _pardon(self, now: float) -> None:
        for peer in self._peers.values():
            peer.pardoned = max(peer.pardoned, now)

    def _peer(self, message: Message, now: float) -> Peer | None:
        """Who says this, if it counts."""
        gateway_id, incarnation = message.gateway_id, message.incarnation
        if self._void.get(gateway_id, 0) >= incarnation:
            if not isinstance(message, Bye):
                self._notices.add((gateway_id, incarnation))
            return None
        peer = self._peers.get(gateway_id)
        if peer is None or peer.incarnation < incarnation:
            if peer is None and len(self._peers) >= MAX_GATEWAYS:
                log.warning("gossip_of_too_many", gateway_id=gateway_id, known=len(self._peers))
                return None
            if peer is None:
                log.info("gateway_joined", gateway_id=gateway_id, incarnation=incarnation)
            peer = self._peers[gateway_id] = Peer(incarnation, now)
        return peer if peer.incarnation == incarnation else None

    def _take(self, message: Message, peer: Peer, now: float) -> None:
        match message:
            case Beat():
                peer.may_tell, peer.about = message.may_tell, message.about or peer.about
                if peer.applied is None or peer.applied < message.version:
                    peer.miss()
            case Delta():
                if peer.applied is None or message.version > peer.applied + 1:
                    peer.miss()
                elif message.version == peer.applied + 1:
                    peer.applied = message.version
                    self._apply(message)
            case Full():
                self._collect(message, peer)
            case Ask():
                self._owes_full |= message.of in (None, self.gateway_id)
            case Bye():
                self._lose(message.gateway_id, "it said goodbye")

    def _apply(self, delta: Delta) -> None:
        for connection_id in delta.free:
            self._roster.take(delta.gateway_id, connection_id)
        for seat in delta.seats:
            self._roster.put(delta.gateway_id, seat)
        for words in delta.words:
            self._roster.say(delta.gateway_id, words)

    def _collect(self, full: Full, peer: Peer) -> None:
        if parts := peer.collect(full):
            words = (said for part in parts for said in part.words)
            self._roster.replace(full.gateway_id, (seat for part in parts for seat in part.seats), words)
            for part in parts:
                self.on_told(part.told)

    def _begin_anew(self, incarnation: int) -> None:
        """Others took this gateway for dead: its seats count from now."""
        log.warning("gateway_was_taken_for_dead", gateway_id=self.gateway_id, incarnation=incarnation)
        self.incarnation = incarnation
        now = self._time_of_day()
        for seat in list(self._roster.seats(self.gateway_id).values()):
            self._roster.put(self.gateway_id, msgspec.structs.replace(seat, since=now))
        self._owes_full = True
        self._beat_at = self._full_at = float("-inf")

    def _lose(self, gateway_id: str, reason: str) -> None:
        peer = self._peers.pop(gateway_id)
        self._void[gateway_id] = peer.incarnation
        self._void.move_to_end(gateway_id)
        if len(self._void) > REMEMBERED_VOID:
            self._void.popitem(last=False)
        log.info("gateway_gone", gateway_id=gateway_id, reason=reason, seats=len(self._roster.seats(gateway_id)))
        self._roster.drop(gateway_id)

    def tick(self, now: float, *, may_tell: bool) -> list[bytes]:
        """Bury the dead; what to send now. To be called several times a second."""
        if self.hears_itself(now):
            for gateway_id, peer in list(self._peers.items()):
                if peer.is_silent(now, DEAD_SECONDS):
                    self._lose(gateway_id, "it is silent")
        return [encode(message) for message in self._sayings(now, may_tell)] if self._connected else []

    def _sayings(self, now: float, may_tell: bool) -> Iterator[Message]:
        me: dict[str, Any] = {"gateway_id": self.gateway_id, "incarnation": self.incarnation}
        yield from self._changes(me)
        if now - self._full_at >= FULL_SECONDS or (self._owes_full and now - self._full_at >= BEAT_SECONDS):
            self._owes_full, self._full_at = False, now
            yield from self._all(me)
        if self._asks:
            self._asks = False
            for peer in self._peers.values():
                peer.asked_at = now
            yield Ask(**me)
        for gateway_id, peer in self._peers.items():
            if peer.asked_at is not None and now - peer.asked_at >= ASK_SECONDS:
                peer.asked_at = now
                yield Ask(**me, of=gateway_id)
        if now - self._beat_at >= BEAT_SECONDS:
            self._beat_at = max(self._beat_at + BEAT_SECONDS, now - BEAT_SECONDS / 2)
            void = sorted(self._notices)
            self._notices.clear()
            about: dict[str, Any] = {}
            if now - self._about_at >= ABOUT_SECONDS:
                self._about_at, about = now, self.about()
            yield Beat(**me, version=self._version, may_tell=may_tell, void=void, about=about)

    def _changes(self, me: dict[str, Any]) -> Iterator[Delta]:
        known = self._roster.words(self.gateway_id)
        seats, free = list(self._new.values()), list(self._free)
        words = [known[agent_id] for agent_id in self._said if agent_id in known]
        self._new.clear()
        self._free.clear()
        self._said.clear()
        for delta in deltas(me, self._version, seats, free, words):
            self._version = delta.version
            yield delta

    def _all(self, me: dict[str, Any]) -> list[Full]:
        seats, words = self._roster.seats(self.gateway_id), self._roster.words(self.gateway_id)
        told = {agent_id: told_by for agent_id in words if (told_by := self.told_by(agent_id))}
        return fulls(me, self._version, list(seats.values()), list(words.values()), told)

    def goodbye(self) -> bytes:
        """The last message."""
        return encode(Bye(gateway_id=self.gateway_id, incarnation=self.incarnation))
