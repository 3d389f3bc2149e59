"""Which connections of this gateway are to be closed because their agent has too many, over all gateways. Free of I/O.

Everybody is let in at once; when gossip shows an older connection in the same place, the newer one is closed. Which is
older is the same for every gateway: the one seated first, and of two at the same moment the one with the lower id.
"""

from typing import NamedTuple

from services.ws_gateway.agents.replicas import BEAT_SECONDS, Replicas
from services.ws_gateway.agents.roster import Agent, Placed, Roster, Seat


class Closing(NamedTuple):
    """A connection of this gateway to be closed as one too many, or because another one continues it."""

    connection_id: str
    reason: str
    is_resumed: bool = False


class Seating:
    """The connections of one gateway that compete with older ones for a place."""

    def __init__(self, roster: Roster, replicas: Replicas) -> None:
        self._roster = roster
        self._replicas = replicas
        # Those beyond the limit, and since when.
        self._contested: dict[str, float] = {}
        self._closings: list[Closing] = []

    def review(self, agent: Agent, now: float) -> None:
        """An agent's seats have changed."""
        if len(agent.seats) < 2:
            return
        superseded, surplus = agent.superseded(), agent.surplus()
        for connection_id, placed in agent.seats.items():
            if placed.gateway_id == self._replicas.gateway_id:
                if connection_id in superseded:
                    self._closings.append(Closing(connection_id, "resumed elsewhere", is_resumed=True))
                if connection_id in surplus:
                    self._contested.setdefault(connection_id, now)

    def close(self, now: float) -> list[Closing]:
        """Which connections to close now.

        Of those too many, the ones whose elders' gateways have been heard of since: a gateway that has just died would
        else keep its agents out.
        """
        closings, self._closings = self._closings, []
        if self._contested and self._replicas.hears_itself(now):
            for connection_id, since in list(self._contested.items()):
                seat = self._roster.seats(self._replicas.gateway_id).get(connection_id)
                agent = self._roster.agents.get(seat.agent_id) if seat else None
                elders = agent.surplus().get(connection_id, []) if agent else []
                if seat is None or not elders:
                    del self._contested[connection_id]
                elif all(self._replicas.heard(elder.gateway_id) >= since + BEAT_SECONDS for elder in elders):
                    del self._contested[connection_id]
                    closings.append(Closing(connection_id, _too_many(seat, elders)))
        return closings


def _too_many(seat: Seat, elders: list[Placed]) -> str:
    if seat.kind == "human":
        return f"{seat.agent_id} has {len(elders)} connections already"
    return f"{seat.agent_id} has an {seat.permission} connection already, at another gateway"
