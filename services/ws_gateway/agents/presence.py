"""Presence: which agents are there, over all gateways, and what others are told of it. Free of I/O.

It is given the seats of this gateway, what its agents say of themselves, the gossip of the other gateways, the presence
events of the log, and the time. It gives gossip to send, events to publish, and connections to close because an agent
has too many of them. The gateway with the lowest id among those alive tells; docs/decisions/0012 says why.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from services.ws_gateway.agents.readiness import RunningTasks, described
from services.ws_gateway.agents.replicas import Replicas
from services.ws_gateway.agents.roster import Roster, Seat, State, Status, Words
from services.ws_gateway.agents.seating import Closing, Seating
from services.ws_gateway.agents.telling import Due, Tellings
from services.ws_gateway.door.access import Identity
from services.ws_gateway.requests import Presence as Request
from services.ws_gateway.stream.frames import Frame
from shared.logs import get_logger
from shared.messages.live import AgentPresence

EVENTS_A_TICK = 200
CHANGES_A_TICK = 500
# Open sidebars that others are told of.
MAX_SIDEBARS = 100

log = get_logger()


class Work(NamedTuple):
    """What is to be done now."""

    gossip: list[bytes]
    events: list[AgentPresence]
    closings: list[Closing]


class _Event(msgspec.Struct):
    agent_id: str
    message_id: str
    status: Status | Literal["offline"]
    current_context: str = ""
    active_sidebars: tuple[str, ...] = ()
    specialties: tuple[str, ...] = ()


_EVENT = msgspec.json.Decoder(_Event)


class Presence:
    """One gateway's view of everybody's presence, and its part in telling it.

    `now` is everywhere the same clock that never goes back; `time_of_day` gives seconds since 1970.
    """

    def __init__(
        self,
        gateway_id: str,
        *,
        grace_s: float,
        sender: str = "ws_gateway",
        time_of_day: Callable[[], float] = time.time,
    ) -> None:
        self.gateway_id = gateway_id
        self.roster = Roster(self._on_changed)
        self.replicas = Replicas(gateway_id, self.roster, time_of_day)
        self.replicas.told_by = self._told_by
        self.replicas.on_told = self._on_told
        self.tellings = Tellings(grace_s)
        self.tasks = RunningTasks()
        self._sender = sender
        self._time_of_day = time_of_day
        self._now = 0.0
        self._changed: dict[str, None] = {}
        self._told_elsewhere: dict[str, str] = {}
        self._seating = Seating(self.roster, self.replicas)
        self._begun = False

    def seated(self, connection_id: str, identity: Identity) -> None:
        """Somebody has shown who it is at this gateway; what it was before goes on when it was away for a moment."""
        agent_id = identity.agent_id
        seat = Seat(connection_id, agent_id, identity.kind, identity.permission, self._time_of_day())
        agent = self.roster.agents.get(agent_id)
        words = None if agent is None else agent.words.get(self.gateway_id) or agent.latest
        if words is None and (told := self.tellings.told(agent_id)):
            # Earlier than whatever it says itself, later than nothing.
            status: Any = "online" if told.status == "idle" else told.status
            words = Words(agent_id, 1.0, status, told.current_context, None, told.active_sidebars, told.specialties)
        words = words or Words(agent_id)
        self.replicas.seat(seat, msgspec.structs.replace(words, is_active=True))

    def released(self, connection_id: str) -> None:
        """A connection of this gateway has ended."""
        self.replicas.release(connection_id)

    def took_over(self, connection_id: str, earlier_id: str) -> None:
        """A connection of this gateway continues an earlier one, wherever that is; that one is to be closed."""
        seat = self.roster.seats(self.gateway_id).get(connection_id)
        if seat is not None and connection_id != earlier_id:
            words = self.roster.words(self.gateway_id).get(seat.agent_id) or Words(seat.agent_id)
            self.replicas.seat(msgspec.structs.replace(seat, takes_over=earlier_id), words)

    def said(self, agent_id: str, request: Request) -> None:
        """An agent tells of itself; what it leaves out stays as it was."""
        known = self.words(agent_id)
        if known is None:
            return
        given = {
            "status": request.status,
            "current_context": request.current_context,
            "said_sidebars": _unique(request.active_sidebars),
            "specialties": _unique(request.specialties),
        }
        changes = {name: value for name, value in given.items() if value is not None}
        self.replicas.say(msgspec.structs.replace(known, said_at=self._time_of_day(), is_active=True, **changes))

    def is_active(self, agent_id: str, active: bool) -> None:
        """Whether anything has come from an agent of this gateway lately."""
        known = self.words(agent_id)
        if known is not None and known.is_active != active:
            self.replicas.say(msgspec.structs.replace(known, is_active=active))

    def takes_part(self, agent_id: str, sidebars: tuple[str, ...]) -> None:
        """The open sidebars an agent of this gateway is a participant of, as far as is known."""
        known = self.words(agent_id)
        if known is not None and known.sidebars != sidebars[:MAX_SIDEBARS]:
            self.replicas.say(msgspec.structs.replace(known, sidebars=sidebars[:MAX_SIDEBARS]))

    def sidebars_of(self, agent_id: str) -> tuple[str, ...] | None:
        """Those it is known here to take part in; None when it is not at this gateway."""
        known = self.words(agent_id)
        return None if known is None else known.sidebars

    def words(self, agent_id: str) -> Words | None:
        """What is known here of an agent of this gateway, brought up to what it last said elsewhere."""
        agent = self.roster.agents.get(agent_id)
        own = None if agent is None else agent.words.get(self.gateway_id)
        latest = None if agent is None else agent.latest
        if own is None or latest is None or latest.said_at <= own.said_at:
            return own
        return msgspec.structs.replace(latest, is_active=own.is_active, sidebars=own.sidebars)

    def look(self, frame: Frame) -> None:
        """An event `agent_presence` is in the log: so this was told."""
        if not (frame.routing_key.startswith("agent.") and frame.routing_key.endswith(".presence")):
            return
        self._was_told(frame.text, is_latest=True)

    def recall(self, event: bytes) -> None:
        """This was the last event of an agent as far as it is recorded; the log, read before, counts more."""
        self._was_told(event, is_latest=False)

    def _was_told(self, text: bytes, *, is_latest: bool) -> None:
        try:
            event = _EVENT.decode(text)
        except msgspec.MsgspecError as fault:
            log.warning("presence_unreadable", reason=str(fault)[:200])
            return
        if not is_latest and self.tellings.knows(event.agent_id):
            return
        state = (
            None if event.status == "offline"
            else State(event.status, event.current_context, event.active_sidebars, event.specialties)
        )  # fmt: skip
        self.tellings.was_told(event.agent_id, event.message_id, state, event.specialties, self._now)

    def hear(self, body: bytes, now: float) -> None:
        """Gossip has come, this gateway's own included."""
        self._now = max(self._now, now)
        self.replicas.hear(body, now)

    def connect(self) -> None:
        """There is a connection for gossip."""
        self._begun = False
        self.replicas.connect()

    def disconnect(self) -> None:
        """There is none any more: the others stay as they were."""
        self.replicas.disconnect()

    def _on_changed(self, agent_id: str) -> None:
        self._changed[agent_id] = None

    def _told_by(self, agent_id: str) -> str | None:
        return None if agent_id in self._changed else self.tellings.told_by(agent_id)

    def _on_told(self, told: dict[str, str]) -> None:
        self._told_elsewhere |= told

    def tick(self, now: float, *, told_is_known: bool) -> Work:
        """Time has passed; to be called several times a second.

        `told_is_known`: whether the presence events of the log have been seen, and new ones are seen as they come.
        """
        self._now = now = max(self._now, now)
        settled = self.replicas.is_settled(now)
        gossip = self.replicas.tick(now, may_tell=settled and told_is_known)
        self._review(now)
        if settled and told_is_known and not self._begun:
            self._begun = True
            self.tellings.begin(now)
        self.tellings.advance(now)
        events = []
        if settled and told_is_known and not self._changed and self.replicas.leads():
            events = [self._event(due) for due in self.tellings.due(now, EVENTS_A_TICK)]
        return Work(gossip, events, self._seating.close(now))

    def _review(self, now: float) -> None:
        """Compare those who have changed with what was told; many at once take several turns."""
        for agent_id in list(self._changed)[:CHANGES_A_TICK]:
            del self._changed[agent_id]
            agent = self.roster.agents.get(agent_id)
            first_id = agent.first.seat.connection_id if agent else ""
            self.tellings.is_so(agent_id, agent.state if agent else None, first_id, now)
            if agent is not None:
                self._seating.review(agent, now)
        if not self._changed:
            for agent_id, message_id in self._told_elsewhere.items():
                self.tellings.learn(agent_id, message_id, now)
            self._told_elsewhere.clear()

    def _event(self, due: Due) -> AgentPresence:
        state = due.state or State("offline", "", (), due.specialties)
        status: Any = state.status
        return AgentPresence(
            message_id=due.message_id,
            sender_agent_id=self._sender,
            priority="low",
            agent_id=due.agent_id,
            status=status,
            current_context=state.current_context,
            active_sidebars=list(state.active_sidebars),
            specialties=list(state.specialties),
        )

    def goodbye(self) -> bytes:
        """The last gossip: this gateway's seats are void at once."""
        return self.replicas.goodbye()

    def load(self, agent_id: str) -> int:
        """An agent's open sidebars and running tasks."""
        agent = self.roster.agents.get(agent_id)
        state = None if agent is None else agent.state
        return self.tasks.of(agent_id) + (len(state.active_sidebars) if state else 0)

    def by_status(self) -> dict[str, int]:
        """How many are connected to any gateway, by status."""
        counts = Counter(dict.fromkeys(get_args(Status), 0))
        counts.update(state.status for agent in self.roster.agents.values() if (state := agent.state))
        return dict(counts)

    def gateways(self) -> list[dict[str, Any]]:
        """The gateways that are alive, as each describes itself (`replicas.about`), by id."""
        return self.replicas.described()

    def agents(
        self,
        health: Callable[[str], int | None] = lambda agent_id: None,
        *,
        only: str | None = None,
        limit: int | None = None,
    ) -> list[dict[str, Any]]:
        """Everyone who is connected, at any gateway, by id; `health` scores an agent's connection (0-100), if known.

        Each is what `readiness.described` gives. `only`: that agent, if it is connected; `limit`: the first so many.
        """
        agents = self.roster.agents
        names = sorted(agents)[:limit] if only is None else [only] if only in agents else []
        return [described(agents[name], self.load(name), health(name)) for name in names]


def _unique(given: list[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(dict.fromkeys(given))
