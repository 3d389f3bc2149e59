"""Commands over the socket, to real workers and back."""

import asyncio

import pytest

from shared.messages import new_id
from tests.integration.ws_gateway.processes import GatewayProcess, connected, token

pytestmark = pytest.mark.anyio


async def test_a_command_is_run_and_its_event_comes(gateway: GatewayProcess) -> None:
    session_id, message_id = f"s-{new_id()}", new_id()
    async with connected(gateway, token("ana")) as client:
        await client.ask("subscribe", topics=[f"session.{session_id}.#"])
        data = {"session_id": session_id, "title": "A talk"}
        await client.send("command", command="create_session", data=data, message_id=message_id)
        frames = {frame["type"]: frame for frame in await client.events(2)}
        assert frames["response"]["correlation_id"] == message_id
        assert frames["response"]["result"]["session"]["title"] == "A talk"
        assert frames["session_created"]["sender_agent_id"] == "ana"
        assert frames["session_created"]["correlation_id"] == message_id


async def test_numbers_of_a_command_stay_as_they_were_written(gateway: GatewayProcess) -> None:
    session_id = f"s-{new_id()}"
    async with connected(gateway) as client:
        data = f'{{"session_id":"{session_id}","initial":{{"n":1180591620717411303424,"f":1e5}}}}'
        await client.socket.send(
            f'{{"type":"command","message_id":"{new_id()}","command":"create_session","data":{data}}}'
        )
        async with asyncio.timeout(20):
            text = await client.socket.recv()
        assert '"initial":{"n":1180591620717411303424,"f":1e5}' in text


async def test_a_refused_command_is_an_error_that_names_it(gateway: GatewayProcess) -> None:
    async with connected(gateway) as client:
        for command, data, code in (
            ("get_session", {"session_id": "nobody knows"}, "not_found"),
            ("get_session", {"session": "x"}, "invalid"),
            ("dance", {}, "invalid"),
            ("list_events", {"after": 0}, "invalid"),
        ):
            message_id = new_id()
            answer = await client.ask("command", command=command, data=data, message_id=message_id)
            assert (answer["type"], answer["code"], answer["correlation_id"]) == ("error", code, message_id)
            assert answer["message"]


async def test_an_observer_may_read_but_not_write(gateway: GatewayProcess) -> None:
    async with connected(gateway, token(permission="observer")) as client:
        answer = await client.ask("command", command="list_sessions", data={}, message_id=new_id())
        assert "sessions" in answer["result"]
        answer = await client.ask("command", command="create_session", data={}, message_id=new_id())
        assert answer["code"] == "forbidden"


async def test_a_token_for_certain_topics_commands_those_sessions_alone(gateway: GatewayProcess) -> None:
    mine, other = f"s-{new_id()}", f"s-{new_id()}"
    async with connected(gateway, token(topics=[f"session.{mine}.#"])) as client:
        answer = await client.ask("command", command="create_session", data={"session_id": mine}, message_id=new_id())
        assert answer["type"] == "response"
        for command, data in (("create_session", {"session_id": other}), ("list_sessions", {})):
            answer = await client.ask("command", command=command, data=data, message_id=new_id())
            assert answer["code"] == "forbidden"


async def test_a_command_again_happens_once(gateway: GatewayProcess) -> None:
    session_id, message_id = f"s-{new_id()}", new_id()
    shown = token()
    async with connected(gateway, shown) as client:
        frame = {"command": "create_session", "data": {"session_id": session_id}, "message_id": message_id}
        first = await client.ask("command", **frame)
        again = await client.ask("command", **frame)
        assert (again["type"], again["original_message_id"]) == ("duplicate_ack", message_id)
    async with connected(gateway, token()) as client:
        again = await client.ask("command", **{**frame, "data": {"session_id": session_id}})
    assert again["type"] in ("response", "error")
    assert first["type"] == "response"


async def test_many_commands_at_once_are_each_answered(gateway: GatewayProcess) -> None:
    async with connected(gateway) as client:
        asked = {new_id() for _ in range(16)}
        for message_id in asked:
            await client.send("command", command="list_sessions", data={"limit": 1}, message_id=message_id)
        assert {answer["correlation_id"] for answer in await client.events(16)} == asked
