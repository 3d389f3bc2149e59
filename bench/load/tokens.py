"""What a client of our gateway shows and asks for when it connects."""

from __future__ import annotations

import json

from shared.auth import sign


def token_headers(secret: str, clients: int) -> list[str]:
    """The handshake headers of so many agents, each with a token of its own, as the sink wants them."""
    claims = [{"sub": f"bench-{number}", "kind": "agent", "permission": "observer"} for number in range(clients)]
    return [
        f"Authorization: Bearer {sign(secret, 'ws', claim, ttl_s=7200)}|Sec-WebSocket-Protocol: switchyard.v1"
        for claim in claims
    ]


def subscription(topic: str) -> str:
    """The frame that asks for a topic."""
    return json.dumps({"type": "subscribe", "topics": [topic], "mode": "everything"})
