"""What the status display tells of one connection, and what is wrong with it, in words."""

from datetime import UTC, datetime
from typing import Any

from services.ws_gateway.client import Client
from services.ws_gateway.history.replay import lasting_interest
from services.ws_gateway.pace.pacing import described as quality_of
from services.ws_gateway.pace.pacing import health, waiting
from services.ws_gateway.pace.quality import GOOD_PING_MS
from shared.messages import rfc3339

__all__ = ["about", "health", "troubles"]

_SLOW = {
    "drain": "it takes less than comes",
    "stalled": "its socket has been full for seconds",
    "ping": "its pings take too long",
}


def about(client: Client) -> dict[str, Any]:
    """A connection of somebody who has shown who it is, in figures."""
    quality = quality_of(client)
    interest = lasting_interest(client.reader.claims())
    identity, connection = client.identity, client.connection
    assert identity is not None
    words = client.gateway.presence.words(identity.agent_id)
    return {
        "connection_id": client.id,
        "agent_id": identity.agent_id,
        "kind": identity.kind,
        "permission": identity.permission,
        "connected_at": _made_at(client.id),
        "dropped": connection.backlog.dropped,
        "messages_in": client.answers.received,
        "messages_out": connection.sent,
        "ping_ms": quality["mean_ping_ms"],
        "bytes_s": quality["bytes_s"],
        "queue_depth": waiting(client),
        "subscriptions": len(interest.topics),
        "mode": interest.mode,
        "slow": quality["slow"],
        "slow_lane": quality["slow_lane"],
        "specialties": list(words.specialties) if words else [],
    }


def troubles(client: Client) -> list[str]:
    """What is wrong with a connection, worst first."""
    found = []
    if unanswered := max(0, client.pulse.unanswered - 1):
        found.append(f"{unanswered} ping{'s' * (unanswered > 1)} not answered")
    if client.quality.slow:
        found.append(_SLOW.get(client.quality.slow, client.quality.slow))
    if count := waiting(client):
        found.append(f"{count} of {client.connection.backlog.max_events} events wait")
    if dropped := client.connection.backlog.dropped:
        found.append(f"{dropped} events dropped so far")
    if (ping := client.quality.mean_ping_ms) is not None and ping > GOOD_PING_MS:
        found.append(f"a ping takes {ping:.0f} ms")
    return found


def _made_at(connection_id: str) -> str:
    """When a connection was made: its id, a UUIDv7, says so to the millisecond (RFC 9562 §5.7)."""
    milliseconds = int(connection_id[:8] + connection_id[9:13], 16)
    return rfc3339(datetime.fromtimestamp(milliseconds / 1000, UTC))
