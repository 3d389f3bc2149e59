"""The Python client package's connection, as a program outside uses it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from cli.local.stack import Stack
from switchyard_client import CommandRefused, Connection, ConnectionRefused, token_by_key, token_from_file
from tests.e2e.conftest import Doors
from tests.e2e.proxy import proxy_to


@asynccontextmanager
async def connected(doors: Doors, url: str = "") -> AsyncIterator[Connection]:
    async with Connection(url or doors.gateway_url, doors.token(permission="active")) as bus:
        yield bus


def within(story: Coroutine[Any, Any, None]) -> None:
    """Run it, but not for ever."""
    asyncio.run(asyncio.wait_for(story, 40))


def test_commands_have_results_and_refusals_and_the_same_id_happens_once(doors: Doors) -> None:
    async def story() -> None:
        async with connected(doors) as bus:
            data = {"session_id": f"client-{uuid4().hex[:8]}"}
            message_id = str(uuid4())
            made = await bus.command("create_session", data, message_id=message_id)
            assert made["session"]["session_id"] == data["session_id"]
            with pytest.raises(CommandRefused, match="not_found") as refused:
                await bus.command("get_task", {"task_id": "none"})
            assert refused.value.code == "not_found"
            with pytest.raises(CommandRefused, match="too_large"):
                await bus.command("create_session", {"title": "x" * 70_000})
            with pytest.raises(TimeoutError):
                wait = {"agent_name": "researcher", "worker_id": "w", "wait_s": 5, "capabilities": ["none has it"]}
                await bus.command("claim_task", wait, timeout=0.2)
            # Another connection, the same message: the reply there was.
            async with connected(doors) as other:
                assert await other.command("create_session", data, message_id=message_id) == made

    within(story())


@pytest.mark.parametrize("broken", [True, False], ids=["broken", "silent"])
def test_events_and_commands_go_on_where_they_were_after_a_cut(doors: Doors, stack: Stack, broken: bool) -> None:
    session_id = doors.session()

    def store(number: int) -> None:
        doors.command("store_memory", session_id=session_id, type="fact", key=f"k{number}", content=number)

    async def story() -> None:
        with proxy_to(int(stack.environment.get("SWITCHYARD_GATEWAY_PORT"))) as network:
            async with connected(doors, f"ws://127.0.0.1:{network.port}/ws") as bus:
                await bus.subscribe(f"memory.{session_id}.#")
                events = bus.events()
                for number in range(3):
                    await asyncio.to_thread(store, number)
                seen = [await anext(events)]
                network.cut(broken=broken)
                for number in range(3, 6):
                    await asyncio.to_thread(store, number)
                asked = asyncio.create_task(bus.command("retrieve_memory", {"session_id": session_id, "key": "k5"}))
                await asyncio.wait({asked}, timeout=0.5)
                assert not asked.done()
                network.heal()
                assert (await asked)["memory"]["content"] == 5
                seen += [await anext(events) for _ in range(5)]
                assert [event["exchange"]["key"] for event in seen] == [f"k{number}" for number in range(6)]
                assert bus.cursor == seen[-1]["cursor"]

    within(story())


def test_who_reads_late_misses_nothing(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("switchyard_client.connection._EVENTS_WAITING", 3)
    session_id = doors.session()

    async def story() -> None:
        async with connected(doors) as bus:
            await bus.subscribe(f"memory.{session_id}.#")
            for number in range(10):
                data = {"session_id": session_id, "type": "fact", "key": f"k{number}", "content": number}
                await bus.command("store_memory", data)
            events = bus.events()
            seen = [(await anext(events))["exchange"]["key"] for _ in range(10)]
            assert seen == [f"k{number}" for number in range(10)]

    within(story())


def test_a_token_is_read_from_a_file_or_asked_for_with_a_key_and_a_bad_one_is_said(
    doors: Doors, stack: Stack, tmp_path: Path
) -> None:
    file = tmp_path / "token"

    async def story() -> None:
        file.write_text("no token")
        with pytest.raises(ConnectionRefused, match="put a new one there"):
            await Connection(doors.gateway_url, token_from_file(file)).open()
        file.write_text(doors.token())
        async with Connection(doors.gateway_url, token_from_file(file)) as bus:
            assert bus.hello["permission"] == "observer"
        agent_id = f"client-{uuid4().hex[:8]}"
        async with Connection(doors.gateway_url, token_by_key(stack.api_url, stack.api_key, agent_id)) as bus:
            assert (bus.hello["agent_id"], bus.hello["permission"]) == (agent_id, "active")
        with pytest.raises(ConnectionRefused, match="401"):
            await Connection(doors.gateway_url, token_by_key(stack.api_url, "no key", agent_id)).open()

    within(story())
