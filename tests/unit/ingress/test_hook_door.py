"""The door for Claude Code's hooks: who gets in, what is kept, and that the answer says nothing."""

import asyncio
import gzip
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from shared.auth import Caller
from shared.messages import decode_command
from tests.unit.ingress.conftest import KEY, Doors

pytestmark = pytest.mark.anyio
HOOK = (
    b'{"session_id":"s1","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"n":1e2},"tool_use_id":"t1"}'
)
HEADERS = {"x-api-key": KEY, "content-type": "application/json"}


async def test_a_hook_is_kept_as_it_came_and_answered_with_nothing(doors: Doors) -> None:
    got = await doors.post("/hooks/claude", HOOK, HEADERS)
    assert (got.status, got.body, got.headers["content-type"]) == (200, b"{}", "application/json")
    (text,) = await doors.kept_texts()
    command = decode_command(text)
    assert (command.spec.name, command.trust, command.caller) == ("receive_claude_hook", "untrusted", "bootstrap")
    assert (command.data.session_id, command.data.event) == ("s1", "PreToolUse")
    assert command.data.hook.text == HOOK


async def test_a_bearer_key_does_as_well_and_an_agent_may_give_its_name(doors: Doors) -> None:
    headers = {"authorization": f"Bearer {KEY}", "x-agent-id": "ada"}
    assert (await doors.post("/hooks/claude", HOOK, headers)).status == 200
    assert (await doors.kept())[0]["sender_agent_id"] == "ada"


async def test_the_same_bytes_are_the_same_hook_unless_an_idempotency_key_says_otherwise(doors: Doors) -> None:
    for _ in range(2):
        await doors.post("/hooks/claude", HOOK, HEADERS)
    await doors.post("/hooks/claude", HOOK.replace(b"t1", b"t2"), HEADERS)
    for key in ("a", "b", "b"):
        await doors.post("/hooks/claude", HOOK, {**HEADERS, "idempotency-key": key})
    ids = [each["message_id"] for each in await doors.kept()]
    assert len(set(ids)) == 4 and len(ids[0]) == 36


@pytest.mark.parametrize("headers", [{}, {"x-api-key": "wrong"}, {"authorization": "Basic eDp5"}])
async def test_without_a_good_key_it_is_401(doors: Doors, headers: dict[str, str]) -> None:
    got = await doors.post("/hooks/claude", HOOK, headers)
    assert (got.status, got.json()["code"]) == (401, "unauthorized")
    assert got.headers["content-type"] == "application/problem+json"
    assert await doors.kept() == []


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (b"", 422, "JSON"),
        (b"[]", 422, "object"),
        (b'{"session_id":"s1"', 422, "JSON"),
        (b'{"session_id":"s1"}', 422, "hook_event_name"),
        (b'{"hook_event_name":"Stop"}', 422, "session_id"),
        (b'{"session_id":7,"hook_event_name":"Stop"}', 422, "session_id"),
        (b'{"session_id":"","hook_event_name":"Stop"}', 422, "session_id"),
        (b'{"session_id":"a\\nb","hook_event_name":"Stop"}', 422, "session_id"),
        (b'{"session_id":"s1","hook_event_name":"%b"}' % (b"x" * 101), 422, "hook_event_name"),
        (b'{"session_id":"%b","hook_event_name":"Stop"}' % (b"x" * 256), 422, "session_id"),
        (b'{"session_id":"s1","hook_event_name":"Stop","x":NaN}', 422, "JSON"),
        (b'{"session_id":"s1","hook_event_name":"Stop","x":"\\u0000"}', 422, "NUL"),
        (b'{"session_id":"s1","hook_event_name":"Stop","x":"\\ud800"}', 422, "JSON"),
        (b'{"session_id":"s1","hook_event_name":"Stop","x":%b%b}' % (b"[" * 64, b"]" * 64), 422, "deeper"),
        (b'{"session_id":"s1","hook_event_name":"Stop","x":"%b"}' % (b"x" * 1_000_000), 413, "1000000"),
        (b"\xff\xfe", 422, "JSON"),
    ],
    ids=range(16),
)
async def test_what_is_no_hook_is_refused_with_the_reason(doors: Doors, body: bytes, status: int, said: str) -> None:
    got = await doors.post("/hooks/claude", body, HEADERS)
    assert (got.status, got.headers["content-type"]) == (status, "application/problem+json")
    assert said in got.json()["detail"]
    assert await doors.kept() == []


async def test_a_bomb_is_refused_and_a_compressed_hook_taken(doors: Doors) -> None:
    packed = {**HEADERS, "content-encoding": "gzip"}
    assert (await doors.post("/hooks/claude", gzip.compress(HOOK), packed)).body == b"{}"
    bomb = gzip.compress(b'{"x":"' + b"x" * 20_000_000)
    assert (await doors.post("/hooks/claude", bomb, packed)).status == 413


async def test_other_methods_are_405_and_other_paths_404(doors: Doors) -> None:
    got = await doors.send("GET", "/hooks/claude", headers=HEADERS)
    assert (got.status, got.headers["allow"]) == (405, "POST")
    assert (await doors.post("/hooks/claude/x", HOOK, HEADERS)).status == 404
    assert await doors.kept() == []


async def test_a_key_needs_the_scope_publish_and_the_session(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.reach import Sessions

    callers = {
        "reader": Caller("reader", frozenset({"read"})),
        "bound": Caller("bound", frozenset({"publish"}), sessions=Sessions(["other"])),
    }
    monkeypatch.setattr(doors.keys, "find", callers.get)
    for key in callers:
        got = await doors.post("/hooks/claude", HOOK, {"x-api-key": key})
        assert (got.status, got.json()["code"]) == (403, "forbidden")
    mine = HOOK.replace(b'"s1"', b'"other"')
    assert (await doors.post("/hooks/claude", mine, {"x-api-key": "bound"})).status == 200


async def test_when_nobody_can_keep_it_it_is_503(make_doors: Callable[..., Any]) -> None:
    doors: Doors = await make_doors(max_bytes=1)
    got = await doors.post("/hooks/claude", HOOK, HEADERS)
    if got.status == 200:  # the first one may fill it
        got = await doors.post("/hooks/claude", HOOK.replace(b"t1", b"t2"), HEADERS)
    assert (got.status, got.json()["code"]) == (503, "unavailable")
    assert got.headers["retry-after"]


async def test_many_at_once_are_all_kept(doors: Doors) -> None:
    bodies = [orjson.dumps({"session_id": "s1", "hook_event_name": "Stop", "n": n}) for n in range(50)]
    answers = await asyncio.gather(*(doors.post("/hooks/claude", body, HEADERS) for body in bodies))
    assert {(got.status, got.body) for got in answers} == {(200, b"{}")}
    assert len(await doors.kept()) == 50
