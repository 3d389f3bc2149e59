"""The command door: both forms, what is checked before a command goes on its way, and what is answered."""

from typing import Any

import orjson
import pytest

from services.ingress.commands import read_reply
from shared.auth import sign
from shared.messages import COMMANDS, decode_command, new_id
from tests.unit.ingress.conftest import KEY, SECRET, Doors

pytestmark = pytest.mark.anyio
MEMORY = b'{"session_id":"s1", "type":"fact", "content":{"z":1.10,"a":1e5}}'


async def form(doors: Doors, **message: Any) -> Any:
    return await doors.post("/api/commands", orjson.dumps(message), {"X-API-Key": KEY})


async def test_a_writing_command_is_accepted_with_the_broker_away(doors: Doors) -> None:
    got = await doors.command("store_memory", MEMORY, Idempotency_Key="m-1")
    assert got.status == 202
    assert got.json() == {"message_id": "m-1", "status": "accepted"}
    assert got.headers["location"] == "/api/commands/m-1"
    (text,) = await doors.kept_texts()
    command = decode_command(text)
    assert command.data.content.text == b'{"z":1.10,"a":1e5}'
    assert (command.message_id, command.sender_agent_id, command.trust, command.hops) == (
        "m-1",
        "bootstrap",
        "trusted",
        0,
    )


async def test_a_message_id_of_any_text_can_be_asked_after(doors: Doors) -> None:
    got = await doors.command("create_session", Idempotency_Key="order 7/β?")
    assert got.headers["location"] == "/api/commands/order%207%2F%CE%B2%3F"
    status = await doors.send("GET", "/api/commands/order 7/β?", headers={"X-API-Key": KEY})
    assert (status.status, status.json()) == (200, {"status": "pending"})


async def test_without_an_id_a_uuid7_is_made(doors: Doors) -> None:
    first = (await doors.command("create_session")).json()["message_id"]
    second = (await doors.command("create_session")).json()["message_id"]
    assert first[14] == "7"
    assert first < second


async def test_the_whole_message_may_be_the_body(doors: Doors) -> None:
    got = await form(
        doors,
        type="command",
        command="create_session",
        data={"session_id": "s1"},
        message_id="m-2",
        sender_agent_id="coder",
        priority="urgent",
        correlation_id="c-1",
        hops=3,
        trust="untrusted",
        timestamp="2026-01-01T00:00:00Z",
        wait_s=0,
    )
    assert got.status == 202
    (text,) = await doors.kept_texts()
    command = decode_command(text)
    assert (command.message_id, command.sender_agent_id, command.priority) == ("m-2", "coder", "critical")
    assert (command.correlation_id, command.hops, command.trust) == ("c-1", 3, "untrusted")


async def test_the_sender_is_named_by_a_header_or_by_the_key(doors: Doors) -> None:
    await doors.command("create_session", X_Agent_Id="codex")
    await form(doors, command="create_session", wait_s=0)
    assert [each["sender_agent_id"] for each in await doors.kept()] == ["codex", "bootstrap"]
    assert (await doors.command("create_session", X_Agent_Id="a\tb")).status == 422


@pytest.mark.parametrize(
    ("message", "named"),
    [
        ({}, "command"),
        ({"command": 7}, "command"),
        ({"command": "create_session", "data": []}, "data"),
        ({"command": "create_session", "nonsense": 1}, "nonsense"),
        ({"command": "create_session", "priority": "whenever"}, "priority"),
        ({"command": "create_session", "wait_s": 61}, "wait_s"),
        ({"command": "create_session", "wait_s": -1}, "wait_s"),
        ({"command": "create_session", "hops": -1}, "hops"),
        ({"command": "create_session", "message_id": ""}, "message_id"),
        ({"command": "create_session", "message_id": "é" * 200}, "message_id"),
        ({"command": "create_session", "callback_url": 7}, "callback_url"),
        ({"command": "create_session", "callback_url": "http://127.0.0.1:9000/"}, "127.0.0.1 is not a public address"),
        ({"command": "list_sessions", "callback_url": "http://localhost/"}, "'localhost' is a name of a private"),
        ({"command": "create_session", "data": {"sesion_id": "s1"}}, "sesion_id"),
        ({"command": "store_memory", "data": {"session_id": "s1"}}, "content"),
        ({"command": "explode"}, "explode"),
        ({"command": "receive_webhook", "data": {}}, "receive_webhook"),
    ],
)
async def test_what_is_wrong_with_a_message_is_422_and_named(doors: Doors, message: dict[str, Any], named: str) -> None:
    got = await form(doors, **message)
    assert got.status == 422
    assert got.json()["code"] == "invalid"
    assert named in got.body.decode()
    assert await doors.kept() == []


async def test_where_the_reply_is_to_be_sent_travels_with_the_command(doors: Doors) -> None:
    url = "https://hooks.example.com/switchyard?room=7"
    assert (await form(doors, command="create_session", callback_url=url)).status == 202
    assert (await form(doors, command="create_session", callback_url=None)).status == 202
    webhook = {"type": "collaborative_session_command", "command": "create_session", "callback_url": url}
    assert (await doors.post("/webhook", orjson.dumps(webhook), {"x-api-key": KEY})).status == 202
    assert [message.get("callback_url") for message in await doors.kept()] == [url, None, url]


@pytest.mark.parametrize("path", ["/api/commands", "/webhook"])
async def test_a_target_that_is_not_public_is_422_at_every_door(doors: Doors, path: str) -> None:
    for url in ("http://[::ffff:127.0.0.1]/", "http://169.254.169.254/", "http://2130706433/", "ftp://example.com/"):
        body = {"type": "collaborative_session_command", "command": "create_session", "callback_url": url}
        got = await doors.post(path, orjson.dumps(body), {"x-api-key": KEY})
        assert (got.status, got.json()["details"]["fields"][0]["field"]) == (422, "callback_url")
    assert await doors.kept() == []


async def test_a_tasks_target_is_judged_as_well(doors: Doors) -> None:
    task = {"session_id": "s1", "agent_name": "codex", "task_type": "t", "callback_url": "http://10.0.0.1/"}
    got = await doors.command("delegate_task", orjson.dumps(task))
    assert got.status == 422
    assert "10.0.0.1 is not a public address" in got.body.decode()
    task["callback_url"] = "https://hooks.example.com/"
    assert (await doors.command("delegate_task", orjson.dumps(task))).status == 202
    assert (await doors.kept())[0]["data"]["callback_url"] == "https://hooks.example.com/"


async def test_the_target_of_a_task_within_a_batch_is_judged_as_well(doors: Doors) -> None:
    task = {"session_id": "s1", "agent_name": "codex", "task_type": "t", "callback_url": "http://10.0.0.1/"}
    parts = [{"command": "create_session"}, {"command": "delegate_task", "data": task}]
    got = await doors.command("batch", orjson.dumps({"commands": parts}))
    assert (got.status, got.json()["details"]["index"]) == (422, 1)
    assert "10.0.0.1 is not a public address" in got.body.decode()


@pytest.mark.parametrize("body", [b"[]", b"7", b'"text"', b"null"])
async def test_a_body_that_is_no_object_is_422(doors: Doors, body: bytes) -> None:
    assert (await doors.post("/api/commands", body, {"X-API-Key": KEY})).status == 422
    assert (await doors.command("create_session", body)).status == 422


async def test_an_empty_body_is_a_command_without_data(doors: Doors) -> None:
    assert (await doors.command("create_session", b"")).status == 202
    assert (await doors.kept())[0]["data"] == {}


@pytest.mark.parametrize("name", sorted(spec.name for spec in COMMANDS.values() if not spec.public))
async def test_the_buss_own_commands_are_unknown_here(doors: Doors, name: str) -> None:
    assert (await doors.command(name)).status == 422
    assert (await form(doors, command=name)).status == 422


async def test_a_loop_is_409(doors: Doors) -> None:
    got = await form(doors, command="create_session", hops=16)
    assert (got.status, got.json()["code"]) == (409, "loop")
    assert (await form(doors, command="create_session", hops=15, wait_s=0)).status == 202


async def test_a_reading_command_with_the_broker_away_is_503_and_is_not_spooled(doors: Doors) -> None:
    got = await doors.command("get_session", b'{"session_id":"s1"}')
    assert (got.status, got.json()["code"]) == (503, "unavailable")
    assert int(got.headers["retry-after"]) > 0
    assert await doors.kept() == []


async def test_a_body_over_1_mb_is_413(doors: Doors) -> None:
    body = b'{"session_id":"s1","type":"fact","content":"' + b"x" * 1_000_000 + b'"}'
    assert (await doors.command("store_memory", body)).status == 413
    assert (await form(doors, command="store_memory", data={"content": "x" * 1_000_000})).status == 413


async def test_records_of_an_import_may_be_larger_than_what_they_were_made_of(doors: Doors) -> None:
    def body(size: int) -> bytes:
        return orjson.dumps({"session_id": "s1", "kind": "chunk", "records": ["x" * size]})

    assert (await doors.command("import_records", body(3_000_000))).status == 202
    assert (await doors.command("import_records", body(9_000_000))).status == 413


async def test_what_was_as_deep_as_allowed_may_come_back_as_a_record(doors: Doors) -> None:
    deep = b"[" * 63 + b"]" * 63
    assert (await doors.command("store_memory", b'{"session_id":"s","type":"fact","content":%s}' % deep)).status == 202
    record = b'{"session_id":"s","records":[{"content":%s}]}' % deep
    assert (await doors.command("import_memories", record)).status == 202


def bearer(*scopes: str, **claims: Any) -> dict[str, str]:
    token = sign(SECRET, claims.pop("aud", "api"), {"name": "tester", "scopes": scopes, **claims}, ttl_s=60)
    return {"Authorization": f"Bearer {token}"}


async def test_an_access_token_may_do_what_its_scopes_say(doors: Doors) -> None:
    writes, reads = bearer("publish"), bearer("read")
    assert (await doors.post("/api/commands/create_session", b"{}", writes)).status == 202
    assert (await doors.kept())[0]["sender_agent_id"] == "tester"
    got = await doors.post("/api/commands/create_session", b"{}", reads)
    assert (got.status, got.json()["code"]) == (403, "forbidden")
    body = b'{"command":"create_session"}'
    assert (await doors.post("/api/commands", body, reads)).status == 403
    assert (await doors.post("/webhook", body, reads)).status == 403
    assert (await doors.post("/webhook", b'{"type":"llm_conversation_insight"}', reads)).status == 403
    assert (await doors.post("/api/commands/list_sessions", b"{}", reads)).status == 503
    assert (await doors.post("/api/commands/list_sessions", b"{}", writes)).status == 403
    assert (await doors.send("GET", "/api/deliveries", headers=writes)).status == 403


@pytest.mark.parametrize("audience", ["ws", "login"])
async def test_a_token_made_for_something_else_is_401(doors: Doors, audience: str) -> None:
    assert (await doors.post("/api/commands/create_session", b"{}", bearer("publish", aud=audience))).status == 401


async def test_an_expired_or_forged_token_is_401(doors: Doors) -> None:
    expired = sign(SECRET, "api", {"scopes": ["publish"]}, ttl_s=-1)
    forged = sign("another-secret-0123456789-0123456789", "api", {"scopes": ["publish"]}, ttl_s=60)
    for token in (expired, forged):
        got = await doors.post("/api/commands/create_session", b"{}", {"Authorization": f"Bearer {token}"})
        assert got.status == 401


async def test_the_status_of_a_command_nobody_knows_needs_the_workers_word(doors: Doors) -> None:
    got = await doors.send("GET", "/api/commands/never-heard-of", headers={"X-API-Key": KEY})
    assert got.status == 503
    assert (await doors.send("GET", f"/api/commands/{new_id()}")).status == 401


async def test_the_trace_of_the_caller_goes_on_and_is_named_in_errors(doors: Doors) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await doors.command("create_session", traceparent=trace)
    (row,) = await doors.spool.head(0, rows=1, size=1)
    assert row.message.traceparent == trace
    assert (await doors.command("explode", traceparent=trace)).json()["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    for malformed in ("", "00-0-0-0", trace.upper(), trace.replace("0af", "zzz"), "00-" + "0" * 32 + trace[35:]):
        made = (await doors.command("explode", traceparent=malformed)).json()["trace_id"]
        assert made != "0af7651916cd43dd8448eb211c80319c"
        assert len(made) == 32


def test_a_result_is_passed_on_as_the_worker_wrote_it() -> None:
    outcome = read_reply("m", b'{"ok":true,"result":{"memory":{"content":1e5,"n":1.10}}}')
    assert outcome.result == b'{"memory":{"content":1e5,"n":1.10}}'
    refusal = read_reply("m", b'{"ok":false,"error":{"code":"conflict","message":"no","details":{}}}')
    assert refusal.error == {"code": "conflict", "message": "no", "details": {}}
