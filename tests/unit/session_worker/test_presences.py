"""What the recorder reads out of presence events."""

import json

from services.session_worker.presences import told_of
from shared.bus.tail import StreamEvent


def event(offset: int, agent_id: object, status: str, *, topic: str = "agent.x.presence", kind: str = "agent_presence"):
    body = json.dumps({"type": kind, "agent_id": agent_id, "status": status}).encode()
    return StreamEvent(offset, topic, body, f"m{offset}")


def test_the_last_event_of_each_agent_counts() -> None:
    events = [event(1, "ana", "online"), event(2, "bob", "online"), event(3, "ana", "idle"), event(4, "bob", "offline")]
    assert told_of(events, 100) == {"ana": (103, events[2].body), "bob": None}


def test_what_is_no_presence_is_left_out() -> None:
    broken = [
        event(1, "ana", "online", topic="session.s1.insight"),
        event(2, "ana", "online", kind="agent_registered"),
        event(3, "", "online"),
        event(4, "a\x00b", "online"),
        event(5, 7, "online"),
        StreamEvent(6, "agent.x.presence", b"no json", "m6"),
    ]
    assert told_of(broken, 0) == {}
