"""Gateways that gossip over a network made of lists, and the event log they tell into. Its time is a number."""

from collections import deque

from services.ws_gateway.agents.presence import Presence
from services.ws_gateway.agents.seating import Closing
from services.ws_gateway.door.access import Identity
from services.ws_gateway.requests import Presence as Report
from services.ws_gateway.stream.frames import event_frame
from shared.messages.live import AgentPresence

TICK = 0.1
GRACE = 2.0


class Town:
    """Some gateways, those who are connected to them, and what the log says of these."""

    def __init__(self, *gateway_ids: str, grace_s: float = GRACE) -> None:
        self.now = 1000.0
        self.grace_s = grace_s
        self.log: list[AgentPresence] = []
        self.gateways: dict[str, Gateway] = {}
        # Who is really connected where: connection → (gateway, agent).
        self.seats: dict[str, tuple[str, str]] = {}
        self.closed: dict[str, str] = {}
        self.sent = 0
        self._number = 0
        for gateway_id in gateway_ids:
            self.start(gateway_id)

    def start(self, gateway_id: str) -> "Gateway":
        gateway = self.gateways[gateway_id] = Gateway(self, gateway_id)
        gateway.presence.connect()
        return gateway

    def kill(self, gateway_id: str) -> None:
        del self.gateways[gateway_id]
        for connection_id in [known for known, (at, _) in self.seats.items() if at == gateway_id]:
            del self.seats[connection_id]

    def stop(self, gateway_id: str) -> None:
        self.say(self.gateways[gateway_id].presence.goodbye())
        self.kill(gateway_id)

    def come(
        self, agent_id: str, gateway_id: str, *, kind: str = "agent", permission: str = "active", instead_of: str = ""
    ) -> str:
        self._number += 1
        connection_id = f"c{self._number:04d}"
        presence = self.gateways[gateway_id].presence
        presence.seated(connection_id, Identity(agent_id, kind, permission, 10**10))  # type: ignore[arg-type]
        if instead_of:
            presence.took_over(connection_id, instead_of)
        self.seats[connection_id] = (gateway_id, agent_id)
        return connection_id

    def go(self, connection_id: str) -> None:
        gateway_id, _ = self.seats.pop(connection_id)
        self.gateways[gateway_id].presence.released(connection_id)

    def report(self, connection_id: str, **fields: object) -> None:
        gateway_id, agent_id = self.seats[connection_id]
        self.gateways[gateway_id].presence.said(agent_id, Report(**fields))  # type: ignore[arg-type]

    def say(self, body: bytes) -> None:
        self.sent += len(body)
        for gateway in self.gateways.values():
            gateway.inbox.append(body)

    def tell(self, event: AgentPresence) -> None:
        if all(told.message_id != event.message_id for told in self.log):
            self.log.append(event)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            for gateway in list(self.gateways.values()):
                gateway.tick()

    def told(self, agent_id: str) -> list[str]:
        """The statuses told of an agent, in order."""
        return [event.status for event in self.log if event.agent_id == agent_id]

    @property
    def truth(self) -> dict[str, set[str]]:
        """Which connections each agent really has."""
        found: dict[str, set[str]] = {}
        for connection_id, (_, agent_id) in self.seats.items():
            found.setdefault(agent_id, set()).add(connection_id)
        return found


class Gateway:
    def __init__(self, town: Town, gateway_id: str) -> None:
        self.town = town
        self.id = gateway_id
        self.presence = Presence(gateway_id, grace_s=town.grace_s, time_of_day=lambda: town.now)
        self.inbox: deque[bytes] = deque()
        self.read = 0
        self.is_stalled = self.is_cut_off = False
        self.follows = True

    def tick(self) -> None:
        if self.is_stalled:
            return
        self.follow()
        if not self.is_cut_off:
            while self.inbox:
                self.presence.hear(self.inbox.popleft(), self.town.now)
        work = self.presence.tick(self.town.now, told_is_known=self.follows and not self.is_cut_off)
        for body in work.gossip:
            if not self.is_cut_off:
                self.town.say(body)
        for event in work.events:
            self.town.tell(event)
        for closing in work.closings:
            self.close(closing)

    def close(self, closing: Closing) -> None:
        self.town.closed[closing.connection_id] = closing.reason
        self.town.go(closing.connection_id)

    def follow(self) -> None:
        """Read the log on."""
        while self.follows and not self.is_cut_off and self.read < len(self.town.log):
            event = self.town.log[self.read]
            self.presence.look(event_frame(self.read, event.routing_key(), event.encoded()))
            self.read += 1

    def cut_off(self) -> None:
        """Its connection to the broker is lost, and what was on its way with it."""
        self.is_cut_off = True
        self.inbox.clear()
        self.presence.disconnect()

    def join_again(self) -> None:
        self.is_cut_off = False
        self.inbox.clear()
        self.presence.connect()

    @property
    def view(self) -> dict[str, set[str]]:
        """Which connections it believes each agent to have."""
        return {agent_id: set(agent.seats) for agent_id, agent in self.presence.roster.agents.items()}


def states(town: Town) -> dict[str, str]:
    """What was told last of each agent."""
    return {event.agent_id: event.status for event in town.log}
