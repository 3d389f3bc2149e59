"""A gateway that is ordered to shut down comes back by itself, and its clients go on where they were."""

import json
from collections.abc import Iterator

import pytest
from websockets.exceptions import ConnectionClosed

from cli.local.stack import Stack
from tests.e2e.conftest import Doors, Listener
from tests.waiting import eventually


@pytest.fixture
def listener(doors: Doors) -> Iterator[Listener]:
    """A client of the gateway that will end."""
    with doors.listen("memory.#") as listening:
        yield listening


def test_a_gateway_is_started_anew_after_an_ordered_shutdown(doors: Doors, stack: Stack, listener: Listener) -> None:
    gateway = stack.process("ws_gateway")
    before, restarts = gateway.pid, gateway.restarts
    session_id = doors.session()
    doors.command("store_memory", session_id=session_id, type="fact", key="0", content=0)
    cursor = listener.next()["cursor"]
    ordered = doors.command("shut_down_gateway", mode="emergency", countdown_seconds=2, reason="a new version")
    assert ordered["shutdown"]["countdown_seconds"] == 2
    left = []
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            frame = json.loads(listener.socket.recv(timeout=10))
            left.append((frame["type"], frame["countdown_seconds"]))
    assert left == [("emergency_shutdown_warning", 2), ("emergency_shutdown_warning", 1)]
    assert closed.value.rcvd is not None
    assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (1012, "emergency shutdown; resume from cursor")
    doors.command("store_memory", session_id=session_id, type="fact", key="1", content=1)
    eventually(lambda: gateway.pid not in (None, before), 5, because="the gateway is started anew")
    eventually(lambda: stack.health("ws_gateway")[0], 20, because="the gateway is ready again")
    assert gateway.restarts == restarts + 1
    assert any("has ended as it was ordered to" in line for line in (stack.data / "stack.log").read_text().splitlines())
    with doors.listen(f"memory.{session_id}.#", since=cursor) as again:
        assert again.subscribed["recovered"] is True
        assert again.next()["exchange"]["key"] == "1"
