"""Who is connected where, over all gateways that are alive, and what each agent says of itself. Free of I/O."""

from collections.abc import Callable, Iterable
from typing import Literal, NamedTuple

import msgspec

from services.ws_gateway.door.access import TABS_OF_A_HUMAN

Status = Literal["online", "working", "idle"]


class Seat(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One connection of somebody who has shown who it is. `since`: seconds since 1970.

    `takes_over` is the connection it continues.
    """

    connection_id: str
    agent_id: str
    kind: Literal["human", "agent"]
    permission: Literal["observer", "active"]
    since: float
    takes_over: str | None = None

    @property
    def kept_apart(self) -> tuple[str, str]:
        """Seats of one agent for which this is the same are counted together."""
        return self.kind, self.permission if self.kind == "agent" else ""

    @property
    def order(self) -> tuple[float, str]:
        """Who came first; the same at every gateway."""
        return self.since, self.connection_id


class Words(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one gateway knows of an agent that is connected to it.

    `said_at` is when the agent said so (seconds since 1970; 0: never), `is_active` whether anything came from it
    lately. `said_sidebars` None: it leaves that to `sidebars`, those whose participant it is.
    """

    agent_id: str
    said_at: float = 0.0
    status: Status = "online"
    current_context: str = ""
    said_sidebars: tuple[str, ...] | None = None
    sidebars: tuple[str, ...] = ()
    specialties: tuple[str, ...] = ()
    is_active: bool = True

    @property
    def active_sidebars(self) -> tuple[str, ...]:
        """Where it takes part now."""
        return self.sidebars if self.said_sidebars is None else self.said_sidebars


class State(NamedTuple):
    """What others are told of an agent that is connected."""

    status: str
    current_context: str
    active_sidebars: tuple[str, ...]
    specialties: tuple[str, ...]


class Placed(NamedTuple):
    """A seat and the gateway it is at."""

    gateway_id: str
    seat: Seat


class Agent:
    """One agent's seats and what the gateways know of it."""

    __slots__ = ("agent_id", "seats", "words")

    def __init__(self, agent_id: str) -> None:
        self.agent_id = agent_id
        self.seats: dict[str, Placed] = {}
        self.words: dict[str, Words] = {}

    @property
    def latest(self) -> Words | None:
        """What it said last, at whichever gateway."""
        if len(self.words) <= 1:
            return next(iter(self.words.values()), None)
        return max(self.words.items(), key=lambda said: (said[1].said_at, said[0]))[1]

    @property
    def state(self) -> State | None:
        """What is so; None: it is not connected."""
        if not self.seats:
            return None
        words = self.latest
        if words is None:
            return State("online", "", (), ())
        is_active = any(known.is_active for known in self.words.values())
        status = words.status if is_active else "idle"
        return State(status, words.current_context, words.active_sidebars, words.specialties)

    @property
    def first(self) -> Placed:
        """The seat it has had longest. Raises ValueError without one."""
        return min(self.seats.values(), key=lambda placed: placed.seat.order)

    def superseded(self) -> set[str]:
        """The connections that others of its own continue."""
        return {placed.seat.takes_over for placed in self.seats.values() if placed.seat.takes_over}

    def surplus(self) -> dict[str, list[Placed]]:
        """The connections beyond what an agent or a human may have, each with those that were there before it."""
        if len(self.seats) < 2:
            return {}
        superseded = self.superseded()
        kinds: dict[tuple[str, str], list[Placed]] = {}
        for placed in self.seats.values():
            if placed.seat.connection_id not in superseded:
                kinds.setdefault(placed.seat.kept_apart, []).append(placed)
        found: dict[str, list[Placed]] = {}
        for (kind, _), seats in kinds.items():
            limit = TABS_OF_A_HUMAN if kind == "human" else 1
            if len(seats) > limit:
                seats.sort(key=lambda placed: placed.seat.order)
                found |= {placed.seat.connection_id: seats[:limit] for placed in seats[limit:]}
        return found


class _Desk:
    """What one gateway says of those who are connected to it."""

    __slots__ = ("seats", "words")

    def __init__(self) -> None:
        self.seats: dict[str, Seat] = {}
        # Of an agent: how many seats it has here, and its words.
        self.words: dict[str, Words] = {}


class Roster:
    """Every seat of every gateway. `changed` is called with an agent's id after each change to it."""

    def __init__(self, changed: Callable[[str], None]) -> None:
        self._changed = changed
        self._desks: dict[str, _Desk] = {}
        self.agents: dict[str, Agent] = {}

    def seats(self, gateway_id: str) -> dict[str, Seat]:
        """The seats at a gateway, by connection."""
        desk = self._desks.get(gateway_id)
        return {} if desk is None else desk.seats

    def words(self, gateway_id: str) -> dict[str, Words]:
        """What a gateway knows of its agents."""
        desk = self._desks.get(gateway_id)
        return {} if desk is None else desk.words

    def put(self, gateway_id: str, seat: Seat) -> None:
        """Somebody has a seat at a gateway, or the seat's fields have changed."""
        desk = self._desks.setdefault(gateway_id, _Desk())
        before = desk.seats.get(seat.connection_id)
        if before == seat:
            return
        if before is not None and before.agent_id != seat.agent_id:
            self.take(gateway_id, seat.connection_id)
        desk.seats[seat.connection_id] = seat
        agent = self.agents.get(seat.agent_id)
        if agent is None:
            agent = self.agents[seat.agent_id] = Agent(seat.agent_id)
        agent.seats[seat.connection_id] = Placed(gateway_id, seat)
        self._changed(seat.agent_id)

    def take(self, gateway_id: str, connection_id: str) -> None:
        """A seat is free again; one that is not there is none."""
        desk = self._desks.get(gateway_id)
        seat = None if desk is None else desk.seats.pop(connection_id, None)
        if desk is None or seat is None:
            return
        agent = self.agents.get(seat.agent_id)
        if agent is None or connection_id not in agent.seats or agent.seats[connection_id].gateway_id != gateway_id:
            return  # another gateway says that it has this connection
        del agent.seats[connection_id]
        if not any(placed.gateway_id == gateway_id for placed in agent.seats.values()):
            desk.words.pop(seat.agent_id, None)
            agent.words.pop(gateway_id, None)
        if not agent.seats:
            del self.agents[seat.agent_id]
        self._changed(seat.agent_id)

    def say(self, gateway_id: str, words: Words) -> None:
        """What a gateway knows now of an agent with a seat there."""
        agent = self.agents.get(words.agent_id)
        if agent is None or not any(placed.gateway_id == gateway_id for placed in agent.seats.values()):
            return
        if agent.words.get(gateway_id) != words:
            self._desks[gateway_id].words[words.agent_id] = words
            agent.words[gateway_id] = words
            self._changed(words.agent_id)

    def replace(self, gateway_id: str, seats: Iterable[Seat], words: Iterable[Words]) -> None:
        """All that a gateway has, whatever was known of it before."""
        now = {seat.connection_id: seat for seat in seats}
        for connection_id in [known for known in self.seats(gateway_id) if known not in now]:
            self.take(gateway_id, connection_id)
        for seat in now.values():
            self.put(gateway_id, seat)
        for said in words:
            self.say(gateway_id, said)

    def drop(self, gateway_id: str) -> None:
        """A gateway is gone, and its seats with it."""
        for connection_id in list(self.seats(gateway_id)):
            self.take(gateway_id, connection_id)
        self._desks.pop(gateway_id, None)
