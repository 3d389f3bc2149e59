"""What whoever runs gateways can see and order: the status display, emergencies, shutdowns; on real gateways."""

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from cli import gateways
from cli.local.ports import free_port
from shared.messages import Event, new_id
from shared.messages.live import EmergencyShutdownWarning, MaintenanceShutdown, Shutdown, SystemShutdown
from tests.integration.ws_gateway.processes import (
    API_KEY,
    Client,
    GatewayProcess,
    Source,
    connected,
    numbers,
    token,
)
from tests.integration.ws_gateway.test_slow import TOPIC, slow_client
from tests.waiting import eventually, eventually_async

pytestmark = pytest.mark.anyio

ALARM = "security_emergency_broadcast"


def admin() -> str:
    return token("the admin", kind="human", scopes=["admin"])


def get(gateway: GatewayProcess, path: str = "/state", method: str = "GET", **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body else None
    finally:
        connection.close()


async def state_of(client: Any, message_id: str = "m1", **data: Any) -> dict[str, Any]:
    answer = await client.ask("command", message_id=message_id, command="get_state", data=data)
    assert answer["type"] == "response", answer
    assert answer["correlation_id"] == message_id
    return dict(answer["result"])


async def test_each_is_told_of_what_it_may_see(gateway: GatewayProcess) -> None:
    async with (
        connected(gateway, token("ana")) as agent,
        connected(gateway, token("ana", permission="observer")) as observer,
        connected(gateway, token("ben")),
        connected(gateway, admin()) as chief,
    ):
        for client in (agent, observer):
            state = await state_of(client)
            assert {(each["agent_id"], each["permission"]) for each in state["connections"]} == {
                ("ana", "active"), ("ana", "observer"),
            }  # fmt: skip
            assert all("address" not in each for each in state["connections"])
            assert {each["agent_id"] for each in state["agents"]} == {"ana"}
            assert state["sidebars"] is None
            assert state["gateway"]["connections_total"] == 4
        state = await state_of(chief)
        mine = next(each for each in state["connections"] if each["connection_id"] == agent.hello["connection_id"])
        assert mine["address"] == "127.0.0.1"
        assert (mine["agent_id"], mine["kind"], mine["health"], mine["messages_in"]) == ("ana", "agent", 100, 1)
        assert {each["agent_id"] for each in state["agents"]} >= {"ana", "ben", "the admin"}
        assert state["gateway"]["by_kind"] == {"human": 1, "agent": 3}
        assert [each["gateway_id"] for each in state["gateways"]] == [state["gateway"]["gateway_id"]]
        assert state["sidebars"] is not None
        assert state["problems"] == []
        one = await state_of(chief, "m2", limit=1)
        two = await state_of(chief, "m3", limit=3, cursor=one["next"])
        assert len({each["connection_id"] for each in one["connections"] + two["connections"]}) == 4
        assert two["next"] is None
        answer = await chief.ask("command", message_id="m4", command="get_state", data={"limit": 500})
        assert (answer["type"], answer["code"]) == ("error", "invalid")


async def test_with_a_session_the_worker_answers(gateway: GatewayProcess) -> None:
    async with connected(gateway, admin()) as client:
        answer = await client.ask("command", message_id="m1", command="get_state", data={"session_id": "none such"})
        assert (answer["type"], answer["code"]) == ("error", "not_found")


async def test_it_comes_to_those_who_name_its_topic_alone(gateway: GatewayProcess) -> None:
    async with connected(gateway, token("ana")) as listener, connected(gateway, token("ben")) as other:
        await other.ask("subscribe", topics=["#", "system.#"])
        await listener.ask("subscribe", topics=["system.gateway"])
        frame = await listener.receive(3)
        assert frame["type"] == "gateway_state"
        assert {each["agent_id"] for each in frame["connections"]} == {"ana"}
        assert "cursor" not in frame
        # Whatever was sent to the other one lies before the answer to its ping.
        while (frame := await other.ask("ping"))["type"] != "pong":
            assert frame["type"] != "gateway_state"


async def test_curl_and_the_command_line_get_it_with_a_key_or_a_token(
    gateway: GatewayProcess, capsys: pytest.CaptureFixture[str]
) -> None:
    async with connected(gateway, token("ana")):
        status, body = get(gateway)
        assert (status, body["code"]) == (401, "unauthorized")
        assert get(gateway, X_API_Key="wrong")[0] == 401
        assert get(gateway, Authorization=f"Bearer {token(ttl_s=-1)}")[0] == 401
        assert get(gateway, f"/state?token={token()}")[0] == 401
        for shown in (API_KEY, admin()):
            status, body = get(gateway, Authorization=f"Bearer {shown}")
            assert status == 200
            assert body["sidebars"] is not None
        status, body = get(gateway, Authorization=f"Bearer {token('ana')}")
        assert [each["agent_id"] for each in body["connections"]] == ["ana"]
        status, body = get(gateway, Authorization=f"Bearer {token('ben')}")
        assert (status, body["connections"]) == (200, [])
        assert get(gateway, Authorization=f"Bearer {token('ben', scopes=['publish'])}")[0] == 403
        assert get(gateway, "/state?limit=1", X_API_Key=API_KEY)[0] == 200
        status, body = get(gateway, "/state?limit=x", X_API_Key=API_KEY)
        assert (status, body["code"]) == (422, "invalid")
        assert get(gateway, method="POST", X_API_Key=API_KEY)[0] == 405
        assert get(gateway, method="HEAD", X_API_Key=API_KEY) == (200, None)
        live = gateways.state(gateway.port, API_KEY)
        assert live
        assert live["agents"] > 0
        gateways.show({**live, "problems": ["ana: its socket is full"]})
        shown = capsys.readouterr().out
        assert live["gateway"]["gateway_id"] in shown
        assert "ana: its socket is full" in shown
        assert gateways.state(gateway.port, "wrong") is None
        assert gateways.state(free_port(), API_KEY) is None


async def declare(chief: Client) -> None:
    data = {"lane": "security_emergency", "subject": "a stolen key", "details": {"key": "ci"}}
    answer = await chief.ask("command", message_id=new_id(), command="declare_emergency", data=data)
    while answer["type"] != "response":
        answer = await chief.receive()
    assert answer["result"]["emergency"]["declared_by"] == "the admin"


async def until_alarm(client: Client) -> list[dict[str, object]]:
    """Everything that comes, up to the emergency."""
    frames = [await client.receive()]
    while frames[-1]["type"] != ALARM:
        frames.append(await client.receive())
    return frames


async def test_an_emergency_reaches_everyone_ahead_of_all_that_waits(gateway: GatewayProcess, source: Source) -> None:
    async with (
        connected(gateway, admin()) as chief,
        connected(gateway) as silent,
        connected(gateway, token(permission="observer")) as observer,
        slow_client(gateway, token()) as slow,
        slow_client(gateway, token()) as replaying,
    ):
        published = await source.publish(1500, size=1000)
        eventually(lambda: gateway.metric("slow") == 2)
        # Asked for all of it again, it is given older events while its socket is full.
        await replaying.send("subscribe", topics=[TOPIC], since=0)
        published += await source.publish(150, size=1000, priority="critical")
        before = gateway.metric("lane_broadcasts_total", lane="security_emergency")
        await declare(chief)
        for client in (silent, observer):
            (alarm,) = await until_alarm(client)
            assert alarm["message"] == "Security breach detected: a stolen key"
            assert alarm["details"] == {"key": "ci"}
            assert alarm["priority_lane"] is True
            assert "since" not in alarm
        assert gateway.metric("lane_broadcasts_total", lane="security_emergency") == before + 1
        for client in (slow, replaying):
            *earlier, alarm = await until_alarm(client)
            assert alarm["since"] < alarm["cursor"]
            # It came before the end of what was published before it.
            events = [frame for frame in earlier if "insight" in frame]
            assert len(set(numbers(events))) < len(published)
        assert gateway.metric("routing_seconds_count") > 0
        assert 0 < gateway.metric("establishment_seconds_sum") / gateway.metric("establishment_seconds_count") < 1
        assert gateway.metric("memory_per_connection_bytes") * 5 == pytest.approx(gateway.memory(), rel=0.2)


def id_of(gateway: GatewayProcess) -> str:
    return str(get(gateway, X_API_Key=API_KEY)[1]["gateway"]["gateway_id"])


def order(mode: str, gateway_id: str, *, countdown: int = 0, **more: Any) -> Event:
    kinds = {"clean": SystemShutdown, "maintenance": MaintenanceShutdown, "emergency": EmergencyShutdownWarning}
    return kinds[mode](
        shutdown=Shutdown(
            mode=mode, reason="a new version", gateway_id=gateway_id, countdown_seconds=countdown, ordered_by="ada"
        ),
        message="a new version", countdown_seconds=countdown or None, urgency="critical", priority="critical", **more,
    )  # fmt: skip


async def test_an_emergency_counts_down_and_lets_nobody_in(
    make_gateway: Callable[..., GatewayProcess], source: Source
) -> None:
    gateway = make_gateway()
    gateway.start()
    async with connected(gateway) as client:
        await source.send("system.shutdown", order("emergency", id_of(gateway), countdown=2).encoded())
        eventually(lambda: gateway.get("/health/ready")[0] == 503)
        assert "shuts down" in gateway.get("/health/ready")[1]
        with pytest.raises(InvalidStatus) as refused:
            await connect(gateway.url)
        assert refused.value.response.status_code == 503
        frame = await client.receive()
        while "shutdown" in frame:
            frame = await client.receive()
        assert frame == {
            "type": "emergency_shutdown_warning", "countdown_seconds": 1, "urgency": "critical",
            "message": "The gateway shuts down in 1 s, for an emergency: a new version",
        }  # fmt: skip
        assert await client.close_code() == 1012
        assert client.socket.close_reason == "emergency shutdown; resume from cursor"
    assert gateway.wait(10) == 0


async def test_everything_before_a_clean_shutdown_is_written_and_its_successor_does_not_obey_again(
    make_gateway: Callable[..., GatewayProcess], source: Source
) -> None:
    gateway = make_gateway()
    gateway.start()
    async with connected(gateway) as client:
        await client.ask("subscribe", topics=["session.#"])
        numbers = await source.publish(300, size=1000)
        await source.send("system.shutdown", order("clean", id_of(gateway)).encoded())
        events = [frame for frame in [await client.receive() for _ in numbers] if frame["type"] != "system_shutdown"]
        assert len(events) >= len(numbers) - 1
        assert await client.close_code() == 1012
        assert client.socket.close_reason == "shutdown; resume from cursor"
    assert gateway.wait(10) == 0
    gateway.start()
    async with connected(gateway) as client:
        await source.send("system.shutdown", order("clean", "another").encoded())
        (number,) = await source.publish(topic="session.s9.insight")
        answer = await client.ask("subscribe", topics=["session.s9.#"], since=events[-1]["cursor"])
        assert answer["recovered"] is True
        frame = await client.receive()
        while frame["type"] == "system_shutdown":
            frame = await client.receive()
        assert frame["insight"]["number"] == number
        # SIGTERM would close it with 1012 as well, but not by an order.
        assert gateway.get("/health/ready")[0] == 200


async def knows(client: Client, gateway_id: str) -> bool:
    """Whether a client's gateway shows another one."""
    answer = await client.ask("command", message_id=new_id(), command="get_state", data={})
    return gateway_id in [each["gateway_id"] for each in answer["result"]["gateways"]]


async def test_maintenance_is_ordered_by_a_command_for_one_gateway_and_leaves_time_to_read(
    gateway: GatewayProcess, make_gateway: Callable[..., GatewayProcess]
) -> None:
    other = make_gateway()
    other.start()
    async with connected(gateway, admin()) as chief, connected(other, token("ana")) as client:
        order = {"mode": "maintenance", "reason": "a new disk", "gateway_id": id_of(other)}
        await eventually_async(lambda: knows(chief, order["gateway_id"]))
        refused = await client.ask("command", message_id=new_id(), command="shut_down_gateway", data=order)
        assert refused["code"] == "forbidden"
        await chief.ask("command", message_id=new_id(), command="shut_down_gateway", data=order)
        message = await client.receive()
        told_at = time.monotonic()
        assert (message["type"], message["urgency"]) == ("maintenance_shutdown", "normal")
        assert message["message"] == "The gateway shuts down for maintenance: a new disk"
        assert await client.close_code() == 1012
        assert client.socket.close_reason == "maintenance shutdown; resume from cursor"
        assert time.monotonic() - told_at > 1
        # Who is at another gateway is not told of it.
        await chief.send("ping")
        assert (await chief.receive())["type"] == "pong"
        assert other.wait(10) == 0
        question = {"message_id": new_id(), "command": "list_audit", "data": {"command": "gateway.shutdown"}}
        (entry,) = (await chief.ask("command", **question))["result"]["entries"][:1]
        assert (entry["target"], entry["outcome"]) == (order["gateway_id"], "maintenance, ordered by the admin")
