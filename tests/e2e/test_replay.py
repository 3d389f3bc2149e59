"""A session replayed through the doors: at its pace, from any place, the same each time."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from statistics import median
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from tests.e2e.conftest import Doors

EVENTS = 60


_RECORDED: list[str] = []


@pytest.fixture
def recorded(doors: Doors) -> str:
    """A session with a sidebar, whose events were recorded over a second or so; one for all of these tests."""
    if not _RECORDED:
        _RECORDED.append(_record(doors))
    return _RECORDED[0]


def _record(doors: Doors) -> str:
    session_id = doors.session()
    for number in range(EVENTS):
        doors.command("store_memory", session_id=session_id, type="fact", key=f"k{number}", content=number)
    doors.command("spawn_sidebar", session_id=session_id, participants=["ada", "bob"], task_description="in private")
    doors.command("complete_session", session_id=session_id)
    return session_id


def replayed(doors: Doors, session_id: str, **asked: Any) -> list[dict[str, Any]]:
    """The events of a whole replay over HTTP, each with its `id`, and the seconds until it came under `came`."""
    headers = asked.pop("headers", {})
    got: list[dict[str, Any]] = []
    began = None
    with doors.http.stream("GET", f"/api/replay/session/{session_id}", params=asked, headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"].startswith("text/event-stream")
        event: dict[str, str] = {}
        for line in answer.iter_lines():
            if line:
                name, _, value = line.partition(": ")
                event[name] = value
                continue
            if event.get("event") not in ("replay_started", "replay_ended", None):
                began = began or time.monotonic()
                got.append({**json.loads(event["data"]), "id": event["id"], "came": time.monotonic() - began})
                assert event["event"] == got[-1]["type"]
            last, event = event, {}
    assert last["event"] == "replay_ended"
    return got


def without_pace(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in event.items() if name != "came"} for event in events]


def test_every_run_gives_the_whole_timeline_in_its_order(doors: Doors, recorded: str) -> None:
    first, second = (replayed(doors, recorded, speed=0) for _ in range(2))
    timeline = doors.command("get_timeline", session_id=recorded, limit=500)["entries"]

    assert without_pace(first) == without_pace(second)
    assert [event["session_seq"] for event in first] == [*range(1, len(first) + 1)]
    assert [event["cursor"] for event in first] == [entry["cursor"] for entry in timeline]
    assert len(first) >= EVENTS + 3


def test_the_recorded_pace_is_kept_to_20_ms(doors: Doors, recorded: str) -> None:
    for speed in (1.0, 2.0):
        events = replayed(doors, recorded, speed=speed)
        at = [datetime.fromisoformat(event["timestamp"]).timestamp() for event in events]
        late = [event["came"] - (moment - at[0]) / speed for event, moment in zip(events, at, strict=True)]
        # Beside everything else that runs here, some may wait for the processor, and the first of them may be one.
        assert median(abs(each - median(late)) for each in late) < 0.02
        assert max(map(abs, late)) < 1


def test_it_begins_at_a_number_or_a_moment_and_goes_on_behind_the_last_event_that_was_had(
    doors: Doors, recorded: str
) -> None:
    events = replayed(doors, recorded, speed=0)
    tenth = events[9]

    by_number = replayed(doors, recorded, speed=0, **{"from": "10"})
    by_moment = replayed(doors, recorded, speed=0, **{"from": tenth["timestamp"]})
    resumed = replayed(doors, recorded, speed=0, headers={"Last-Event-ID": tenth["id"]})

    assert without_pace(by_number) == without_pace(events[9:])
    assert without_pace(by_moment) == without_pace(events[9:])
    assert without_pace(resumed) == without_pace(events[10:])
    nothing = doors.http.get(
        f"/api/replay/session/{recorded}", params={"speed": 0}, headers={"Last-Event-ID": events[-1]["id"]}
    )
    assert nothing.status_code == 204


@pytest.mark.parametrize(
    ("session_id", "asked", "status"),
    [
        ("no-such-session", {}, 404),
        (None, {"speed": -1}, 422),
        (None, {"from": "soon"}, 422),
        (None, {"speed": "x"}, 422),
    ],
)
def test_what_can_not_be_replayed_is_refused(
    doors: Doors, recorded: str, session_id: str | None, asked: dict[str, Any], status: int
) -> None:
    answer = doors.http.get(f"/api/replay/session/{session_id or recorded}", params=asked)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert httpx.get(f"{doors.http.base_url}/api/replay/session/{recorded}").status_code == 401


class Socket:
    """A WebSocket that replays."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    def send(self, kind: str, **fields: Any) -> None:
        self.socket.send(json.dumps({"type": kind, "message_id": str(uuid4()), **fields}))

    def next(self) -> dict[str, Any]:
        frame: dict[str, Any] = json.loads(self.socket.recv(timeout=20))
        return frame

    def until(self, *kinds: str) -> list[dict[str, Any]]:
        """Frames up to the first of these types, and that one."""
        frames = [self.next()]
        while frames[-1]["type"] not in kinds:
            frames.append(self.next())
        return frames


@contextmanager
def opened(doors: Doors, **claims: Any) -> Iterator[Socket]:
    headers = {"Authorization": f"Bearer {doors.token(**claims)}"}
    with connect(doors.gateway_url, additional_headers=headers, subprotocols=["switchyard.v1"]) as socket:  # type: ignore[list-item]
        here = Socket(socket)
        assert here.next()["type"] == "connected"
        yield here


def test_an_observer_replays_over_the_websocket_and_each_frame_names_the_replay(doors: Doors, recorded: str) -> None:
    with opened(doors, permission="observer") as socket:
        socket.send("replay", session_id=recorded, speed=0)
        started, *events, ended = socket.until("replay_ended")

    assert started["type"] == "replay_started"
    assert ended == {**ended, "replay_id": started["replay_id"], "reason": "end", "session_id": recorded}
    assert {event["replay_id"] for event in events} == {started["replay_id"]}
    # It takes no part in the sidebar, and hears nothing of it.
    over_http = [event for event in replayed(doors, recorded, speed=0) if not event["type"].startswith("sidebar_")]
    assert [event["cursor"] for event in events] == [event["cursor"] for event in over_http]


def test_who_takes_part_in_a_sidebar_hears_it_again(doors: Doors, recorded: str) -> None:
    with opened(doors, agent_id="bob", scopes=["read"], permission="observer") as socket:
        socket.send("replay", session_id=recorded, speed=0)
        kinds = [frame["type"] for frame in socket.until("replay_ended")]
    assert "sidebar_spawn" in kinds


def test_a_replay_is_paused_resumed_sought_sped_up_and_stopped(doors: Doors, recorded: str) -> None:
    with opened(doors) as socket:
        socket.send("replay", session_id=recorded, speed=0.001, **{"from": 5})
        started, event = socket.next(), socket.next()
        assert event["session_seq"] == 5
        named = {"replay_id": started["replay_id"]}
        for action, fields in [("pause", {}), ("seek", {"from": 40}), ("speed", {"speed": 0})]:
            socket.send("replay_control", **named, action=action, **fields)
            assert socket.next()["action"] == action
        socket.send("replay_control", **named, action="resume")
        assert socket.next()["action"] == "resume"
        *events, ended = socket.until("replay_ended")
        assert events[0]["session_seq"] == 40
        assert ended["reason"] == "end"

        socket.send("replay", session_id=recorded, speed=0.001)
        started, *_ = socket.next(), socket.next()
        socket.send("replay_control", replay_id=started["replay_id"], action="stop")
        assert socket.until("replay_ended")[-1]["reason"] == "stopped"
        socket.send("replay_control", replay_id=started["replay_id"], action="pause")
        assert socket.next()["code"] == "not_found"


def test_a_connection_has_so_many_replays_at_a_time(doors: Doors, recorded: str) -> None:
    with opened(doors) as socket:
        for _ in range(5):
            socket.send("replay", session_id=recorded, speed=0.001)
        frames = socket.until("error")
        assert frames[-1]["code"] == "conflict"
        socket.send("replay", session_id="no-such-session")
        socket.send("ping")
        assert socket.until("pong")


def test_a_token_for_other_sessions_may_not_replay(doors: Doors, recorded: str) -> None:
    with opened(doors, permission="observer", topics=["session.other.#"]) as socket:
        socket.send("replay", session_id=recorded)
        assert socket.next()["code"] == "forbidden"
        socket.send("replay", session_id="no-such-session")
        assert socket.next()["code"] == "forbidden"


def test_a_replay_that_does_not_begin_does_not_end(doors: Doors) -> None:
    with opened(doors) as socket:
        socket.send("replay", session_id="no-such-session")
        assert socket.next()["code"] == "not_found"
        socket.send("ping")
        assert [frame["type"] for frame in socket.until("pong")] == ["pong"]
