"""What was said or told already, and for how long that is remembered."""

import json
import tracemalloc

from services.ws_gateway.delivery.dedup import MESSAGE_SECONDS, REMEMBERED_IDS, REMEMBERED_STATUSES, Heard, Statuses
from services.ws_gateway.requests import Ping, Presence
from services.ws_gateway.stream.frames import Frame, event_frame
from tests.unit.ws_gateway.wire import texts


def acks(answer: bytes | None) -> list[object]:
    return [] if answer is None else [frame["original_message_id"] for frame in texts(answer)]


def presence(agent: str, status: str, second: float, cursor: int = 1) -> Frame:
    body = {
        "type": "agent_presence", "message_id": f"m{second}", "timestamp": f"2026-01-01T00:00:{second:09.6f}Z",
        "sender_agent_id": f"gateway-{second}", "agent_id": agent, "status": status, "specialties": ["x"],
    }  # fmt: skip
    return event_frame(cursor, f"agent.{agent}.presence", json.dumps(body).encode())


def test_an_id_is_remembered_for_five_minutes() -> None:
    heard = Heard()
    assert heard.note(Ping(message_id="a"), 0) is None
    assert acks(heard.note(Ping(message_id="a"), MESSAGE_SECONDS - 1)) == ["a"]
    assert heard.note(Ping(message_id="a"), MESSAGE_SECONDS) is None
    assert acks(heard.note(Ping(message_id="a"), MESSAGE_SECONDS + 1)) == ["a"]


def test_messages_without_an_id_are_never_the_same() -> None:
    heard = Heard()
    assert heard.note(Ping(), 0) is None
    assert heard.note(Ping(), 0) is None


def test_what_did_not_settle_may_be_said_again() -> None:
    heard = Heard()
    heard.note(Ping(message_id="a"), 0)
    heard.forget("a")
    assert heard.note(Ping(message_id="a"), 1) is None


def test_a_status_that_says_what_the_last_one_said_is_a_duplicate_for_thirty_seconds() -> None:
    heard = Heard()
    assert heard.note(Presence(message_id="a", status="working", timestamp="1"), 0) is None
    assert acks(heard.note(Presence(message_id="b", status="working", timestamp="2"), 29)) == ["a"]
    assert acks(heard.note(Presence(status="working"), 29)) == ["a"]
    assert heard.note(Presence(status="working"), 30) is None


def test_a_status_that_returns_is_a_change() -> None:
    heard = Heard()
    for status in ("working", "idle", "working"):
        assert heard.note(Presence(status=status), 0) is None


def test_a_refused_status_may_be_said_again() -> None:
    heard = Heard()
    heard.note(Presence(status="working"), 0)
    heard.forget_status()
    assert heard.note(Presence(status="working"), 1) is None


def test_memory_is_bounded_and_given_back() -> None:
    heard = Heard()
    tracemalloc.start()
    try:
        for number in range(3 * REMEMBERED_IDS):
            heard.note(Presence(message_id=f"{number:036}", status="idle"), 0)
        used, _ = tracemalloc.get_traced_memory()
        assert used < 400_000
        heard.sweep(MESSAGE_SECONDS)
        used, _ = tracemalloc.get_traced_memory()
        assert used < 10_000
    finally:
        tracemalloc.stop()
    assert heard.note(Ping(message_id=f"{0:036}"), 0) is None


def test_a_repeated_status_is_told_once_within_thirty_seconds() -> None:
    statuses = Statuses()
    told = [
        (agent, status, second)
        for agent, status, second in [
            ("ana", "online", 0), ("ben", "online", 1), ("ana", "online", 29), ("ana", "working", 29.5),
            ("ana", "online", 29.6), ("ben", "online", 31.5), ("ana", "online", 40),
        ]
        if not statuses.is_repeated(presence(agent, status, second))
    ]  # fmt: skip
    assert told == [
        ("ana", "online", 0), ("ben", "online", 1), ("ana", "working", 29.5), ("ana", "online", 29.6),
        ("ben", "online", 31.5),
    ]  # fmt: skip


def test_a_status_that_can_not_be_read_is_told() -> None:
    statuses = Statuses()
    frame = event_frame(1, "agent.ana.presence", b'{"type":"agent_presence"}')
    assert not statuses.is_repeated(frame)
    assert not statuses.is_repeated(frame)


def test_the_statuses_of_so_many_agents_are_remembered_and_no_more() -> None:
    statuses = Statuses()
    for number in range(REMEMBERED_STATUSES + 1):
        assert not statuses.is_repeated(presence(f"a{number}", "online", 0))
    assert not statuses.is_repeated(presence("a0", "online", 1))
    assert statuses.is_repeated(presence(f"a{REMEMBERED_STATUSES}", "online", 1))
