"""Poison by every door: refused or dead-lettered with the reason, and its neighbours unaffected."""

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import aio_pika
import httpx
import orjson
import pytest

from shared.bus.connection import Connection
from shared.bus.topology import COMMANDS, EVENTS
from shared.errors import BusError
from shared.messages import new_id, spec_of
from tests.faults.load import Load
from tests.faults.system import System
from tests.integration.bus.poison import STRANGE, raw_publish
from tests.waiting import eventually_async

pytestmark = pytest.mark.anyio

# Values no door lets in, and what the refusal says.
POISON: dict[str, tuple[bytes, str]] = {
    "bad UTF-8": (b'"\xff"', "UTF-8"),
    "NUL": (rb'"a\u0000b"', "NUL"),
    "NUL in a key": (rb'{"a\u0000": 1}', "NUL"),
    "NaN": (b"NaN", "JSON"),
    "Infinity": (b"-Infinity", "JSON"),
    "a lone surrogate": (rb'"\ud800"', "surrogate"),
    "a number beyond every double": (b"1e999999", "JSON"),
    "100,000 levels": (b"[" * 100_000 + b"]" * 100_000, "nested deeper"),
    "an unclosed document": (b'{"a": [1, 2', "JSON"),
}
# Where each area takes any JSON, or keeps text.
CARRIERS: dict[str, bytes] = {
    "store_memory": b'{"session_id":"s","type":"fact","content":%s}',
    "log_action": b'{"session_id":"s","type":"t","details":%s}',
    "log_response": b'{"session_id":"s","content":%s}',
    "update_state": b'{"session_id":"s","patch":{"a":%s}}',
    "add_goal": b'{"session_id":"s","description":"d","metadata":{"a":%s}}',
    "complete_agent": b'{"session_id":"s","agent_id":"a","result":%s}',
    "add_artifact": b'{"session_id":"s","name":"n","type":"t","content":"c","metadata":{"a":%s}}',
    "delegate_task": b'{"session_id":"s","agent_name":"codex","task_type":"t","input_data":%s}',
    "complete_task": b'{"task_id":"t","lease_token":"l","output_data":%s}',
    "register_agent": b'{"name":"a","type":"t","metadata":{"a":%s}}',
    "create_key": b'{"name":%s,"scopes":["read"]}',
    "batch": b'{"commands":[{"command":"get_session","data":{"session_id":"s"}},'
    b'{"command":"log_action","data":{"session_id":"s","type":"t","details":%s}}]}',
}
# Commands that are JSON, but wrong.
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown command": ({"command": "drop_tables", "data": {}}, "drop_tables"),
    "a wrong type": (
        {"command": "store_memory", "data": {"session_id": 7, "type": "fact", "content": 1}},
        "session_id",
    ),
    "a missing field": ({"command": "store_memory", "data": {"session_id": "s"}}, "content"),
    "an unknown field": ({"command": "list_sessions", "data": {"colour": 1}}, "colour"),
    "a value out of range": (
        {"command": "claim_task", "data": {"agent_name": "a", "worker_id": "w", "count": 51}},
        "count",
    ),
    "an unknown field of the envelope": ({"command": "list_sessions", "data": {}, "colour": 1}, "colour"),
    "no data": ({"command": "store_memory", "data": []}, "data"),
    "a patch that is no object": ({"command": "update_state", "data": {"session_id": "s", "patch": [1]}}, "patch"),
    "a patch of what is reserved": (
        {"command": "update_state", "data": {"session_id": "s", "patch": {"goals": []}}},
        "add_goal",
    ),
    "a status there is not": (
        {"command": "add_goal", "data": {"session_id": "s", "description": "d", "status": "new"}},
        "status",
    ),
    "a moment there is not": (
        {"command": "log_action", "data": {"session_id": "s", "type": "t", "timestamp": "2026-02-30T00:00:00Z"}},
        "timestamp",
    ),
    "a scope there is not": ({"command": "create_key", "data": {"name": "k", "scopes": ["root"]}}, "scopes"),
    "a batch of nothing": ({"command": "batch", "data": {"commands": []}}, "commands"),
    "a batch within a batch": (
        {"command": "batch", "data": {"commands": [{"command": "batch", "data": {"commands": []}}]}},
        "commands[0] (batch)",
    ),
    "an unknown command in a batch": (
        {"command": "batch", "data": {"commands": [{"command": "list_sessions"}, {"command": "drop_tables"}]}},
        "commands[1] (drop_tables)",
    ),
    "a wrong type in a batch": (
        {
            "command": "batch",
            "data": {"commands": [{"command": "add_goal", "data": {"session_id": "s", "description": 7}}]},
        },
        "commands[0] (add_goal)",
    ),
    "a number as the command": ({"command": 7, "data": {}}, "command"),
}
KEYS = ("memory.store_memory", "session.conversation_chunk", "task.delegate_task", "webhook.receive_webhook")


@pytest.fixture
async def http(system: System) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=system.stack.api_url, timeout=30) as made:
        made.headers["X-API-Key"] = system.stack.api_key
        yield made


@pytest.mark.parametrize("name", POISON)
async def test_poison_by_http_is_a_422_that_says_why(system: System, http: httpx.AsyncClient, name: str) -> None:
    value, said = POISON[name]
    data = b'{"session_id":"s","type":"fact","content":' + value + b"}"
    signature = hmac.new(system.stack.environment.get("GITHUB_WEBHOOK_SECRET").encode(), value, "sha256").hexdigest()
    github = {"X-GitHub-Event": "push", "X-GitHub-Delivery": new_id(), "X-Hub-Signature-256": f"sha256={signature}"}
    for path, body, headers in (
        ("/api/commands/store_memory", data, {}),
        ("/api/commands", b'{"command":"store_memory","data":' + data + b"}", {}),
        ("/webhook", b'{"type":"collaborative_session_command","command":"store_memory","data":' + data + b"}", {}),
        ("/webhook", value, github),
        *((f"/api/commands/{command}", carrier % value, {}) for command, carrier in CARRIERS.items()),
    ):
        answer = await http.post(path, content=body, headers=headers)
        problem = answer.json()
        assert (path, answer.status_code, problem["code"]) == (path, 422, "invalid")
        assert said in problem["detail"], problem


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_command_by_http_is_a_422_that_names_what_is_wrong(http: httpx.AsyncClient, name: str) -> None:
    form, said = WRONG[name]
    answer = await http.post("/api/commands", content=orjson.dumps(form))
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert said in answer.text


async def test_a_number_no_machine_word_holds_goes_through_unchanged(system: System, load: Load) -> None:
    text = b'{"n":%d,"x":1e2,"zero":-0.0,"z":1,"a":2,"tiny":1e-999,"most":1.7976931348623157e308}' % 2**70
    session = load.session_id.encode()

    async def run(command: str, data: bytes) -> bytes:
        answer = await load.http.post(f"/api/commands/{command}", content=data, headers=load.key)
        assert answer.is_success, answer.text
        return answer.content

    memory = b'{"session_id":"%s","type":"fact","key":"big","content":%s}' % (session, text)
    inner = b'{"command":"log_response","data":{"session_id":"%s","content":%s}}' % (session, text)
    for command, data in {
        "store_memory": memory,
        "log_action": b'{"session_id":"%s","type":"t","details":%s}' % (session, text),
        "update_state": b'{"session_id":"%s","patch":{"big":%s}}' % (session, text),
        "add_goal": b'{"session_id":"%s","goal_id":"g","description":"d","metadata":%s}' % (session, text),
        "delegate_task": b'{"session_id":"%s","agent_name":"codex","task_type":"t","input_data":%s}' % (session, text),
        "batch": b'{"commands":[%s]}' % inner,
    }.items():
        assert text in await run(command, data), command
    # A second version, which is told by what it changes.
    assert text in await run("store_memory", memory)
    for command, data in {
        "retrieve_memory": b'{"session_id":"%s","key":"big"}' % session,
        "get_actions": b'{"session_id":"%s","kind":"action"}' % session,
        "get_state": b'{"session_id":"%s"}' % session,
        "list_tasks": b'{"session_id":"%s"}' % session,
        "get_timeline": b'{"session_id":"%s"}' % session,
    }.items():
        assert text in await run(command, data), command

    async def is_told() -> bool:
        return load.holds(text)

    await eventually_async(is_told)
    rows = await system.sql("select content::text from memories where session_id = %s", load.session_id)
    assert rows == [(text.decode(),)]


async def test_poison_straight_onto_the_exchange_ends_among_the_dead_letters_and_its_neighbours_do_not(
    system: System, load: Load
) -> None:
    """By an ordinary AMQP client, to each worker, amid the load of the others."""
    before = await system.dead_letters()
    load.start()
    await load.more(50)
    poison = {
        name: b'{"type":"command","message_id":"m","data":{"content":' + value + b"}}"
        for name, (value, _) in POISON.items()
    }
    poison |= {name: orjson.dumps({"type": "command", "message_id": "m", **form}) for name, (form, _) in WRONG.items()}
    hops = b'{"type":"command","message_id":"m","command":"pause_session","hops":%d,"data":{"session_id":"s"}}' % 2**70
    poison |= {"nothing": b"", "no JSON": b"\x00\x01", "no object": b"[]", "2**70 hops": hops}
    async with await aio_pika.connect(system.broker.url) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(COMMANDS, ensure=False)
        for key in KEYS:
            for body in poison.values():
                await exchange.publish(aio_pika.Message(body), routing_key=key)
        for command, carrier in CARRIERS.items():
            for value, _ in POISON.values():
                body = b'{"type":"command","message_id":"m","command":"%s","data":%s}' % (
                    command.encode(), carrier % value,
                )  # fmt: skip
                await exchange.publish(aio_pika.Message(body), routing_key=spec_of(command).routing_key)
        await exchange.publish(aio_pika.Message(b"{}", content_encoding="gzip"), routing_key=KEYS[0])
        await exchange.publish(aio_pika.Message(b"{}"), routing_key="memory.no_such_command")
    await load.more(100)
    await load.stop()

    expected = before + len(KEYS) * len(poison) + len(CARRIERS) * len(POISON) + 2

    async def all_there() -> bool:
        return await system.dead_letters() >= expected

    await eventually_async(all_there, 30)
    assert await system.dead_letters() == expected
    reasons = await system.sql("select routing_key, reason from dead_letters")
    assert all(reason for _, reason in reasons)
    for _, said in (*POISON.values(), *WRONG.values()):
        assert sum(said in reason for _, reason in reasons) >= len(KEYS), said
    assert ("memory.no_such_command",) in {(key,) for key, reason in reasons if "no command" in reason}
    await load.assert_once_each()


async def test_properties_nobody_can_read_stop_no_service(system: System, load: Load) -> None:
    """Onto every queue, the dead letters and the events; RabbitMQ itself looks at none of it."""
    before = await system.dead_letters()
    load.start()
    await load.more(20)
    keys = (*KEYS, "memory.retrieve_memory", "session.get_session", "task.get_task", "no.such.key")
    async with await Connection.open(system.broker.url, name="test") as connection:
        for number, properties in enumerate(STRANGE.values()):
            for key in keys:
                # Not twice the same: copies count as one dead letter.
                connection._write(raw_publish(COMMANDS, key, b"poison %d" % number, **properties))
        await connection.send(EVENTS, "session.s1.end", b"{}", message_id="end")
    for properties in STRANGE.values():
        async with await Connection.open(system.broker.url, name="test") as connection:
            connection._write(raw_publish(EVENTS, "session.s1.strange", b"poison", **properties))
            with suppress(BusError):  # some of them a stream does not take
                await connection.send(EVENTS, "session.s1.end", b"{}", message_id="end")
    await load.more(100)
    await load.stop()

    # Questions that are poison go nowhere; everything else is a dead letter.
    expected = before + len(STRANGE) * (len(KEYS) + 1)

    async def all_there() -> bool:
        return await system.dead_letters() >= expected

    await eventually_async(all_there, 30)
    for name in ("list_sessions", "list_tasks", "query_memories"):
        await load.command(name, {})
    await load.assert_once_each()
    await system.ready()
    # The recorder has gone on past the strange events.
    (recorded,) = load.told_in_order()[-1:]

    async def is_recorded() -> bool:
        return bool(await system.sql("select from events where body->>'correlation_id' = %s", recorded))

    await eventually_async(is_recorded, 30)


async def test_a_hundred_copies_of_a_delivery_at_once_are_one(system: System, load: Load) -> None:
    message = load.message("webhook")
    assert all(await asyncio.gather(*(load.send(message) for _ in range(100))))
    await load.assert_once_each()
