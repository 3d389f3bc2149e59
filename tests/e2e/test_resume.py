"""A listener that comes back gets what it missed, and nothing twice."""

import json

from websockets.sync.client import connect

from tests.e2e.conftest import Doors


def test_a_listener_resumes_from_its_cursor_without_gap_or_duplicate(doors: Doors) -> None:
    session_id = doors.session()
    with doors.listen(f"memory.{session_id}.#") as listener:
        doors.command("store_memory", session_id=session_id, type="fact", key="0", content=0)
        cursor = listener.next()["cursor"]
    for number in range(1, 21):
        doors.command("store_memory", session_id=session_id, type="fact", key=str(number), content=number)
    with doors.listen(f"memory.{session_id}.#", since=cursor) as listener:
        assert listener.subscribed["recovered"] is True
        missed = [listener.next() for _ in range(20)]
        doors.command("store_memory", session_id=session_id, type="fact", key="live", content="live")
        live = listener.next()
    assert [event["exchange"]["key"] for event in missed] == [str(number) for number in range(1, 21)]
    assert live["exchange"]["key"] == "live"
    cursors = [event["cursor"] for event in [*missed, live]]
    assert cursors == sorted(set(cursors))


def test_a_cursor_from_the_future_is_told_as_a_gap(doors: Doors) -> None:
    with doors.listen("#", since=10**12) as listener:
        assert listener.subscribed["recovered"] is False
        gap = listener.next()
        assert gap["type"] == "gap"


def test_a_browser_shows_its_token_by_subprotocol(doors: Doors) -> None:
    protocols = ["switchyard.v1", f"token.{doors.token(kind='human')}"]
    with connect(doors.gateway_url, subprotocols=protocols) as socket:  # type: ignore[arg-type]
        assert socket.subprotocol == "switchyard.v1"
        assert json.loads(socket.recv(timeout=10))["type"] == "connected"
