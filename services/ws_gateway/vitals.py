"""How well a connection is, from 0 to 100, and what is wrong with it, in words. Free of I/O."""

from typing import Any

from services.ws_gateway.client import Client

# What an unanswered ping, a full backlog and the worst ping time take from 100.
PER_UNANSWERED, FULL_BACKLOG, SLOW_PING = 30, 40, 20
WORST_PING_MS = 2_000.0


def health(client: Client) -> int:
    """0 to 100."""
    pulse, backlog = client.pulse, client.connection.backlog
    left = 100.0 - PER_UNANSWERED * max(0, pulse.unanswered - 1)
    left -= SLOW_PING * min(1.0, (pulse.ping_ms or 0.0) / WORST_PING_MS)
    if client.connection.paused:
        left -= 10 + FULL_BACKLOG * len(backlog) / 200
    return max(0, round(left))


def troubles(client: Client) -> list[str]:
    """What is wrong, in words."""
    found = []
    pulse, backlog = client.pulse, client.connection.backlog
    if pulse.unanswered > 1:
        found.append(f"{pulse.unanswered - 1} pings not answered")
    if client.connection.paused:
        found.append(f"its socket is full, {len(backlog)} messages wait")
    if backlog.dropped:
        found.append(f"{backlog.dropped} messages dropped")
    if (pulse.ping_ms or 0.0) >= WORST_PING_MS / 4:
        found.append(f"a ping takes {pulse.ping_ms:.0f} ms")
    return found


def about(client: Client) -> dict[str, Any]:
    """What else is known of a connection."""
    ping = client.pulse.ping_ms
    return {"ping_ms": None if ping is None else round(ping, 1), "mode": "everything", "slow_lane": None}
