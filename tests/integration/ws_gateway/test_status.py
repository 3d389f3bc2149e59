"""The status display of a real gateway, as agents, observers, admins and `curl` get it."""

import http.client
import json
from typing import Any

import pytest

from cli import gateways
from cli.local.ports import free_port
from tests.integration.ws_gateway.processes import GatewayProcess, connected, token

pytestmark = pytest.mark.anyio

KEY = "the bootstrap key of these tests"


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
    make_gateway: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = make_gateway(SWITCHYARD_API_KEY=KEY)
    gateway.start()
    async with connected(gateway, token("ana")):
        status, body = get(gateway)
        assert (status, body["code"]) == (401, "unauthorized")
        assert get(gateway, X_API_Key="wrong")[0] == 401
        assert get(gateway, Authorization=f"Bearer {token(ttl_s=-1)}")[0] == 401
        assert get(gateway, f"/state?token={token()}")[0] == 401
        for headers in ({"X_API_Key": KEY}, {"Authorization": f"Bearer {KEY}"}, {"Authorization": f"Bearer {admin()}"}):
            status, body = get(gateway, **headers)
            assert status == 200
            assert [each["agent_id"] for each in body["connections"]] == ["ana"]
            assert body["connections"][0]["address"] == "127.0.0.1"
        status, body = get(gateway, Authorization=f"Bearer {token('ben')}")
        assert (status, body["connections"]) == (200, [])
        assert get(gateway, Authorization=f"Bearer {token('ben', scopes=['publish'])}")[0] == 403
        assert get(gateway, "/state?limit=1", X_API_Key=KEY)[0] == 200
        status, body = get(gateway, "/state?limit=x", X_API_Key=KEY)
        assert (status, body["code"]) == (422, "invalid")
        assert get(gateway, method="POST", X_API_Key=KEY)[0] == 405
        assert get(gateway, method="HEAD", X_API_Key=KEY) == (200, None)
        live = gateways.state(gateway.port, KEY)
        assert live
        assert (live["agents"], live["gateway"]["connections_total"], live["problems"]) == (1, 1, [])
        gateways.show({**live, "problems": ["ana: its socket is full"]})
        shown = capsys.readouterr().out
        assert live["gateway"]["gateway_id"] in shown
        assert "ana: its socket is full" in shown
        assert gateways.state(gateway.port, "wrong") is None
        assert gateways.state(free_port(), KEY) is None
