"""The life of a client, what it says and what it is answered, with a socket made of lists."""

import asyncio
import json
import time

import pytest

from services.ws_gateway import gateway as gateway_module
from services.ws_gateway.door.entrance import HEARTBEAT_SECONDS
from services.ws_gateway.gateway import RESTART
from shared.messages.live import RevokedTokens
from tests.unit.ws_gateway.house import House, token
from tests.unit.ws_gateway.wire import payloads
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio


async def test_the_first_frame_says_who_is_connected_and_where_the_log_stands() -> None:
    house = House()
    house.publish("a", "a")
    visitor = house.enter(token())
    (hello,) = visitor.socket.read()
    assert hello.pop("connection_id") == visitor.client.id
    assert len(hello.pop("resume_token")) < 400
    assert hello == {
        "type": "connected", "agent_id": "ana", "permission": "active", "epoch": "e1", "cursor": 2, "heartbeat_s": 30,
    }  # fmt: skip


async def test_a_client_may_authenticate_by_its_first_frame() -> None:
    visitor = House().enter()
    (hello,) = visitor.say("authenticate", token=token())
    assert hello["type"] == "connected"
    assert visitor.error("authenticate", token=token()) == "conflict"


@pytest.mark.parametrize("frame", [b'{"type":"ping"}', b"no json", b'{"type":"authenticate","token":"x"}', b"[]"])
async def test_a_first_frame_that_does_not_authenticate_ends_the_connection(frame: bytes) -> None:
    visitor = House().enter()
    visitor.client.answers.said(frame)
    assert visitor.socket.closed is not None
    assert visitor.socket.closed[0] == 4401


async def test_a_stranger_has_five_seconds() -> None:
    house = House()
    visitor = house.enter()
    ((seconds, act),) = house.later
    assert seconds == 5
    act()
    assert visitor.socket.closed is not None
    assert visitor.socket.closed[0] == 4408


async def test_a_token_that_expires_closes_its_connection() -> None:
    house = House()
    visitor = house.enter(token(ttl_s=30))
    ((seconds, act),) = house.later
    assert 25 < seconds <= 30
    act()
    assert visitor.socket.closed is not None
    assert visitor.socket.closed[0] == 4401


async def test_a_second_active_connection_of_an_agent_is_one_too_many() -> None:
    house = House()
    first = house.come()
    house.come(permission="observer")
    second = house.enter(token())
    assert second.socket.closed is not None
    assert second.socket.closed[0] == 4409
    first.client.gone(1000)
    house.come()


async def test_anything_else_is_an_error_and_the_connection_stays() -> None:
    visitor = House().come()
    assert visitor.error("dance") == "invalid"
    for text in (b"no json", b"[1]", b"{}", b'"x"', b'{"type":[]}', b'{"type":"ping","x":NaN}', b"[" * 60_000):
        visitor.client.answers.said(text)
        (answer,) = visitor.socket.read()
        assert (answer["type"], answer["code"]) == ("error", "invalid")
    assert visitor.say("ping") == [{"type": "pong"}]


async def test_text_that_is_not_utf8_ends_the_connection() -> None:
    visitor = House().come()
    visitor.client.answers.said(b'{"type":"\xff"}')
    assert visitor.socket.closed is not None
    assert visitor.socket.closed[0] == 1007


async def test_a_ping_is_answered_and_an_ack_is_not() -> None:
    visitor = House().come()
    assert visitor.say("ping", message_id="p1") == [{"type": "pong", "correlation_id": "p1"}]
    assert visitor.say("ack", message_id="m1") == []
    assert visitor.say("ack", message_id="m1") == []
    (answer,) = visitor.say("ack")
    assert (answer["type"], answer["code"]) == ("error", "invalid")


async def test_the_same_message_id_again_is_acknowledged_as_a_copy() -> None:
    house = House()
    visitor = house.come()
    visitor.say("subscribe", topics=["a"], message_id="q1")
    (answer,) = visitor.say("subscribe", topics=["a"], message_id="q1")
    assert (answer["type"], answer["original_message_id"]) == ("duplicate_ack", "q1")
    visitor.say("command", command="get_session", data={"session_id": "s"}, message_id="c1")
    await visitor.hear(1)
    (answer,) = visitor.say("command", command="get_session", data={"session_id": "s"}, message_id="c1")
    assert (answer["type"], answer["original_message_id"]) == ("duplicate_ack", "c1")
    assert house.commands.ran == ["c1"]


async def test_a_command_that_was_not_taken_may_be_sent_again() -> None:
    house = House()
    house.commands.answer = (b"\x81\x02{}", False)
    visitor = house.come()
    for _ in range(2):
        visitor.say("command", command="get_session", data={}, message_id="c1")
        await visitor.hear(1)
    assert house.commands.ran == ["c1", "c1"]


async def test_a_command_needs_a_message_id_and_only_so_many_are_under_way() -> None:
    house = House()
    house.commands.go_on.clear()
    visitor = house.come()
    assert visitor.error("command", command="get_session", data={}) == "invalid"
    for number in range(16):
        assert visitor.say("command", command="get_session", data={}, message_id=f"c{number}") == []
    assert visitor.error("command", command="get_session", data={}, message_id="c16") == "rate_limited"
    house.commands.go_on.set()
    await visitor.hear(16)
    assert visitor.say("command", command="get_session", data={}, message_id="c16") == []
    await visitor.hear(1)


async def test_an_observer_may_subscribe_ping_acknowledge_and_read_and_nothing_else() -> None:
    visitor = House().come(permission="observer")
    assert visitor.say("subscribe", topics=["a"])[0]["type"] == "subscribed"
    assert visitor.say("ping")[0]["type"] == "pong"
    assert visitor.say("ack", message_id="m") == []
    for kind, fields in (("unsubscribe", {}), ("set_mode", {"mode": "everything"}), ("infodump", {"pattern": "a"})):
        assert visitor.error(kind, **fields) == "forbidden"


async def test_a_flood_ends_the_connection() -> None:
    visitor = House().come()
    counted = sum(visitor.client.answers.counted() for _ in range(400))
    assert 200 <= counted <= 210
    assert visitor.socket.closed is not None
    assert visitor.socket.closed[0] == 4429


async def test_pings_are_spread_over_the_clients_and_three_unanswered_end_a_connection() -> None:
    house = House()
    silent, lively = house.come("a"), house.come("b")
    for round_number in range(1, 5):
        for _ in range(30):
            house.gateway.beat()
        ((opcode, payload),) = payloads(lively.socket.written)
        assert opcode == 9
        lively.socket.written = b""
        lively.client.ponged(payload)
        assert (silent.socket.closed is None) is (round_number < 4)
    assert silent.socket.closed == (1001, "3 pings were not answered")
    assert lively.client.ping_ms is not None


async def test_a_client_that_asks_but_does_not_read_is_not_heard_until_it_has_read() -> None:
    visitor = House().come()
    visitor.client.full()
    visitor.say("ping")
    assert visitor.socket.held
    visitor.client.drained()
    assert not visitor.socket.held


async def test_a_shutdown_sends_what_waits_and_says_why() -> None:
    house = House()
    visitor = house.come()
    visitor.say("subscribe", topics=["#"])
    visitor.client.full()
    house.publish("a", "a")
    ending = asyncio.ensure_future(house.gateway.shut_down(RESTART, "restart; resume from cursor", 5))
    await asyncio.sleep(0)
    assert [frame["cursor"] for frame in visitor.socket.read()] == [1, 2]
    assert visitor.socket.closed == (1012, "restart; resume from cursor")
    assert not ending.done()
    visitor.client.gone(1012)
    await asyncio.wait_for(ending, 1)
    assert house.gateway.clients == []


async def test_a_revoked_key_ends_the_connections_its_tokens_opened_and_no_others() -> None:
    house = House()
    theirs, other = house.come("ana", issued_to="ci"), house.come("bob", issued_to="cd")
    house.keys.replace([], ["ci"])
    house.gateway.close_revoked()
    assert theirs.socket.closed is not None
    assert theirs.socket.closed[0] == 4401
    assert "revoked" in theirs.socket.closed[1]
    assert other.socket.closed is None
    late = house.enter(token("ana", issued_to="ci"))
    assert late.socket.closed is not None
    assert late.socket.closed[0] == 4401


async def test_a_revoked_token_ends_its_connection_and_lets_nobody_in_again() -> None:
    house = House()
    ana, watching, eve, bob = (
        house.come("ana"), house.come("ana", permission="observer"), house.come("eve"), house.come("bob"),
    )  # fmt: skip
    assert eve.client.identity is not None
    stolen = RevokedTokens(token_id=eve.client.identity.token_id, agent_id=None, made_until=0.0)
    lost = RevokedTokens(token_id=None, agent_id="ana", made_until=time.time())
    house.keys.replace([], [], [stolen, lost])
    house.gateway.close_revoked()
    for visitor in (ana, watching, eve):
        assert visitor.socket.closed == (4401, "this token was revoked; ask for a new one")
        visitor.client.gone(4401)
    assert bob.socket.closed is None
    # Tokens made after that are others.
    house.come("ana")
    house.come("eve")
    house.keys.replace([], [], [RevokedTokens(token_id=None, agent_id="cat", made_until=time.time() + 60)])
    late = house.enter(token("cat"))
    assert late.socket.closed is not None
    assert late.socket.closed[0] == 4401


async def test_a_key_that_is_not_on_the_list_yet_is_let_in() -> None:
    house = House()
    house.keys.replace([], [])
    assert house.come("ana", issued_to="made-just-now").socket.closed is None


async def test_without_the_scope_to_read_nothing_is_heard() -> None:
    visitor = House().come("ana", issued_to="ci", scopes=["agent"])
    assert visitor.error("subscribe", topics=["a.b"]) == "forbidden"
    assert visitor.error("infodump", pattern="a.b") == "forbidden"
    assert visitor.say("ping")[0]["type"] == "pong"


async def test_a_key_for_some_sessions_hears_only_theirs() -> None:
    visitor = House().come("ana", issued_to="ci", scopes=["read"], sessions=["s1", "team-*"], hears_sessions=True)
    for topic in ("#", "session.#", "memory.s2.#", "*.s1.#", "webhook.github.push"):
        assert visitor.error("subscribe", topics=["session.s1.#", topic]) == "forbidden"
    assert visitor.say("subscribe", topics=["session.s1.#", "memory.team-7.*"])[0]["type"] == "subscribed"


async def test_a_frame_that_could_not_be_met_yet_may_be_sent_again() -> None:
    house = House(ring=2)
    house.publish("a", "a", "a", "a")
    house.broken = True
    visitor = house.come()
    for _ in range(2):
        visitor.client.answers.said(
            json.dumps({"type": "subscribe", "topics": ["a"], "since": 0, "message_id": "x1"}).encode()
        )
        (answer,) = await visitor.hear(1)
        assert (answer["type"], answer.get("code")) == ("error", "unavailable")


async def test_one_who_fails_at_a_beat_does_not_stop_the_others() -> None:
    house = House()
    visitor = house.come()

    def fail() -> None:
        raise ZeroDivisionError

    house.gateway.on_beat.insert(0, fail)
    visitor.client.beat = fail  # type: ignore[method-assign]
    beats: list[int] = []
    house.gateway.on_beat.append(lambda: beats.append(1))
    for _ in range(HEARTBEAT_SECONDS):
        house.gateway.beat()
    assert len(beats) == HEARTBEAT_SECONDS


async def test_a_gateway_that_stood_still_does_not_take_its_clients_for_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway_module, "BEAT_SECONDS", 0.05)
    house = House()
    beats: list[int] = []
    house.gateway.on_beat.append(lambda: beats.append(1))
    task = asyncio.create_task(house.gateway.run())
    await eventually_async(lambda: _are(beats, 1), because="it beats")
    before = len(beats)
    time.sleep(1)  # noqa: ASYNC251 (nothing happens meanwhile)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(beats) - before <= 2
    task.cancel()


async def _are(beats: list[int], count: int) -> bool:
    return len(beats) >= count
