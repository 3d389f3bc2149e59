"""Commands of clients: what is let through, and how the answers read."""

import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.ws_gateway.access import Identity
from services.ws_gateway.commands import Commands, check_allowed
from services.ws_gateway.hub import Hub
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.requests import CommandRequest, read_request
from services.ws_gateway.ring import Ring
from services.ws_gateway.subscriptions import Topics
from shared.errors import Rejected, Unavailable, Unconfirmed
from shared.messages import CommandSpec, spec_of
from tests.unit.ws_gateway.wire import texts

ANA = Identity("ana", "agent", "active", 9e9)


class FakeRpc:
    """Answers with a text, or fails."""

    def __init__(self, answer: bytes | Exception) -> None:
        self.answer = answer
        self.sent: list[tuple[CommandSpec, bytes, dict[str, Any]]] = []

    async def request(self, spec: CommandSpec, body: bytes, **options: Any) -> bytes:
        self.sent.append((spec, body, options))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def run(rpc: FakeRpc, text: str, identity: Identity = ANA) -> tuple[dict[str, Any], bool, bytes]:
    request = read_request(text.encode())
    assert isinstance(request, CommandRequest)
    commands = Commands(rpc, Metrics(Hub(Ring(1, 1)), CollectorRegistry()))  # type: ignore[arg-type]
    frame, settled = await commands.run(identity, request, text.encode())
    await commands.finished()
    (answer,) = texts(frame)
    return answer, settled, frame


@pytest.mark.anyio
async def test_data_and_result_pass_unchanged_and_the_sender_is_who_is_connected() -> None:
    rpc = FakeRpc(b'{"ok":true,"result":{"n":1e400,"session":{"b":1,"a":2}}}')
    answer, settled, frame = await run(
        rpc,
        '{"type":"command","message_id":"c1","command":"create_session","sender_agent_id":"eve","priority":"urgent",'
        '"hops":3,"traceparent":"00-1-2-01","data":{"session_id":"s1","initial":{"n":1e5,"big":1180591620717411303424}}}',
    )
    assert frame.endswith(b'{"type":"response","correlation_id":"c1","result":{"n":1e400,"session":{"b":1,"a":2}}}')
    assert (answer["type"], settled) == ("response", True)
    ((spec, body, options),) = rpc.sent
    message = json.loads(body)
    assert (spec.name, options["message_id"]) == ("create_session", "c1")
    assert (message["sender_agent_id"], message["priority"], message["hops"]) == ("ana", "critical", 3)
    assert b'{"session_id":"s1","initial":{"n":1e5,"big":1180591620717411303424}}' in body
    assert options["headers"] == {"traceparent": "00-1-2-01"}


@pytest.mark.anyio
async def test_a_refusal_of_the_worker_is_an_error_of_the_frame() -> None:
    rpc = FakeRpc(b'{"ok":false,"error":{"code":"conflict","message":"no","details":{"x":1}}}')
    text = '{"type":"command","message_id":"c1","command":"pause_session","data":{"session_id":"s"}}'
    answer, settled, _ = await run(rpc, text)
    assert answer == {"type": "error", "correlation_id": "c1", "code": "conflict", "message": "no", "details": {"x": 1}}
    assert settled


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (Unavailable("the broker is away"), "unavailable"),
        (Unconfirmed("lost"), "unavailable"),
        (TimeoutError(), "timeout"),
        (Rejected("loop", "too many hops"), "loop"),
    ],
)
async def test_a_command_without_an_answer_may_be_sent_again(failure: Exception, code: str) -> None:
    text = '{"type":"command","message_id":"c1","command":"pause_session","data":{"session_id":"s"}}'
    answer, settled, _ = await run(FakeRpc(failure), text)
    assert (answer["type"], answer["correlation_id"], answer["code"], settled) == ("error", "c1", code, False)


@pytest.mark.anyio
async def test_an_unknown_command_never_reaches_the_bus() -> None:
    rpc = FakeRpc(b"")
    answer, settled, _ = await run(rpc, '{"type":"command","message_id":"c1","command":"dance","data":{}}')
    assert (answer["code"], settled, rpc.sent) == ("invalid", False, [])


def refusal(identity: Identity, command: str, data: dict[str, object]) -> str | None:
    try:
        check_allowed(identity, spec_of(command), data)
    except Rejected as rejected:
        return rejected.code
    return None


def test_what_a_token_allows() -> None:
    observer = Identity("ana", "human", "observer", 9e9)
    narrow = Identity("ana", "agent", "active", 9e9, Topics(["session.s1.#", "memory.s2.updated"]))
    assert refusal(ANA, "store_memory", {}) is None
    assert refusal(ANA, "get_event_log", {}) == "invalid"
    assert refusal(observer, "get_session", {}) is None
    assert refusal(observer, "store_memory", {}) == "forbidden"
    assert refusal(narrow, "store_memory", {"session_id": "s1"}) is None
    for data in ({"session_id": "s2"}, {"session_id": "s3"}, {"session_id": ["s1"]}, {"session_id": "#"}, {}):
        assert refusal(narrow, "get_session", data) == "forbidden"
