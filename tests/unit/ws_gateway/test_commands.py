"""Commands of clients: what is let through, and how the answers read."""

import json
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from services.ws_gateway.commands import Commands, check_allowed
from services.ws_gateway.door.access import Identity
from services.ws_gateway.fanout.hub import Hub
from services.ws_gateway.metrics import Metrics
from services.ws_gateway.requests import CommandRequest, read_request
from services.ws_gateway.stream.ring import Ring
from shared.auth import Caller, derive_key, hash_key
from shared.errors import Rejected, Unavailable, Unconfirmed
from shared.key_ring import KeyRing
from shared.messages import COMMANDS, CommandSpec, encode, spec_of
from shared.messages.access import RingKey
from shared.reach import Sessions
from shared.telemetry import well_formed
from shared.topics import Topics
from tests.unit.ws_gateway.wire import texts

SECRET = "s" * 32
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
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


async def run(
    rpc: FakeRpc, text: str, identity: Identity = ANA, keys: KeyRing | None = None
) -> tuple[dict[str, Any], bool, bytes]:
    request = read_request(text.encode())
    assert isinstance(request, CommandRequest)
    metrics = Metrics(Hub(Ring(1, 1)), CollectorRegistry())
    commands = Commands(rpc, metrics, keys or KeyRing(None), SECRET)  # type: ignore[arg-type]
    frame, settled = await commands.run(identity, request, text.encode(), address="1.2.3.4")
    await commands.finished()
    (answer,) = texts(frame)
    return answer, settled, frame


@pytest.mark.anyio
async def test_data_and_result_pass_unchanged_and_the_sender_is_who_is_connected() -> None:
    rpc = FakeRpc(b'{"ok":true,"result":{"n":1e400,"session":{"b":1,"a":2}}}')
    answer, settled, frame = await run(
        rpc,
        '{"type":"command","message_id":"c1","command":"create_session","sender_agent_id":"eve","priority":"urgent",'
        f'"hops":3,"traceparent":"{TRACE}",'
        '"data":{"session_id":"s1","initial":{"n":1e5,"big":1180591620717411303424}}}',
    )
    assert frame.endswith(b'{"type":"response","correlation_id":"c1","result":{"n":1e400,"session":{"b":1,"a":2}}}')
    assert (answer["type"], settled) == ("response", True)
    ((spec, body, options),) = rpc.sent
    message = json.loads(body)
    assert (spec.name, options["message_id"]) == ("create_session", "c1")
    assert (message["sender_agent_id"], message["priority"], message["hops"]) == ("ana", "critical", 3)
    assert b'{"session_id":"s1","initial":{"n":1e5,"big":1180591620717411303424}}' in body
    assert options["headers"] == {"traceparent": TRACE}


@pytest.mark.anyio
@pytest.mark.parametrize("given", ["", ',"traceparent":"00-1-2-01"'], ids=["none", "malformed"])
async def test_a_command_without_a_trace_context_begins_one(given: str) -> None:
    rpc = FakeRpc(b'{"ok":true,"result":{}}')
    await run(rpc, f'{{"type":"command","message_id":"c1","command":"get_session","data":{{"session_id":"s"}}{given}}}')
    ((_, _, options),) = rpc.sent
    assert well_formed(options["headers"]["traceparent"])


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


def refusal(identity: Identity, command: str, data: dict[str, Any] | None = None) -> str | None:
    spec = spec_of(command)
    data = spec.example if data is None else data
    try:
        check_allowed(identity, spec, data, encode(data))
    except Rejected as rejected:
        return rejected.code
    return None


def holder(*scopes: str, sessions: list[str] | None = None, topics: list[str] | None = None) -> Identity:
    """Who holds an active token of a key."""
    caller = Caller("ci", frozenset(scopes), Sessions(sessions) if sessions else None)
    return Identity("ana", "agent", "active", 9e9, Topics(topics) if topics else None, caller, topics is None)


STORE = {"type": "fact", "content": "x"}
OF_SESSION = [{"session_id": "s1"}, {"session_id": "s2"}, {"session_id": "team-a"}, {"session_id": "team"}]


def test_what_a_token_allows() -> None:
    observer = Identity("ana", "human", "observer", 9e9)
    narrow = Identity("ana", "agent", "active", 9e9, Topics(["session.s1.#", "memory.s2.updated"]))
    assert refusal(ANA, "store_memory", {}) is None
    assert refusal(ANA, "get_event_log", {}) == "invalid"
    assert refusal(observer, "get_session", {}) is None
    assert refusal(observer, "store_memory", {}) == "forbidden"
    assert refusal(narrow, "store_memory", {"session_id": "s1", **STORE}) is None
    for data in ({"session_id": "s2"}, {"session_id": "s3"}, {"session_id": "#"}):
        assert refusal(narrow, "get_session", data) == "forbidden"
    assert refusal(narrow, "list_sessions", {}) == "forbidden"
    assert refusal(narrow, "get_session", {"session_id": ["s1"]}) == "invalid"


@pytest.mark.parametrize("name", sorted(name for name, spec in COMMANDS.items() if spec.public and spec.scope))
@pytest.mark.parametrize("scope", ["read", "publish", "agent", "admin"])
def test_a_command_needs_its_scope_on_the_token(name: str, scope: str) -> None:
    needed = spec_of(name).scope
    enough = {"read": {"read", "admin"}, "publish": {"publish", "admin"}, "agent": {"agent", "publish", "admin"}}
    allowed = scope in enough.get(needed, {"admin"})
    assert refusal(holder(scope), name) == (None if allowed else "forbidden")


@pytest.mark.parametrize(("data", "said"), list(zip(OF_SESSION, [None, "forbidden", None, "forbidden"], strict=True)))
def test_a_token_of_a_key_for_some_sessions_works_in_those_only(data: dict[str, Any], said: str | None) -> None:
    bound = holder("publish", "read", sessions=["s1", "team-*"])
    assert refusal(bound, "store_memory", {**data, **STORE}) == said
    assert refusal(bound, "get_session", data) == said
    assert refusal(bound, "create_session", data) == said
    inner = [
        {"command": "store_memory", "data": {"session_id": "s1", **STORE}},
        {"command": "get_session", "data": data},
    ]
    assert refusal(bound, "batch", {"commands": inner}) == said


def test_outside_of_any_session_such_a_token_does_nothing() -> None:
    bound = holder("publish", "read", "admin", sessions=["s1"])
    for name, data in (
        ("list_sessions", {}),
        ("create_session", {}),
        ("query_memories", {"text": "x"}),
        ("list_keys", {}),
    ):
        assert refusal(bound, name, data) == "forbidden"


def test_topics_asked_for_narrow_a_bound_token_further() -> None:
    narrow = holder("publish", "read", sessions=["s1", "s2"], topics=["session.s1.#"])
    assert [refusal(narrow, "get_session", data) for data in OF_SESSION[:2]] == [None, "forbidden"]


def test_who_may_only_write_does_not_read_by_way_of_a_batch() -> None:
    writer = holder("publish")
    assert (
        refusal(writer, "batch", {"commands": [{"command": "get_session", "data": {"session_id": "s1"}}]})
        == "forbidden"
    )
    assert refusal(writer, "batch", {"commands": [{"command": "create_session"}]}) is None


@pytest.mark.anyio
async def test_the_key_is_told_to_the_workers_and_nobody_else_can_be() -> None:
    rpc = FakeRpc(b'{"ok":true,"result":{}}')
    text = '{"type":"command","message_id":"c1","command":"create_session","data":{}}'
    await run(rpc, text, holder("publish"))
    assert json.loads(rpc.sent[0][1])["caller"] == "ci"
    with pytest.raises(Rejected):
        read_request(text.replace("{}", '{},"caller":"root"').encode())


@pytest.mark.anyio
async def test_a_new_keys_secret_is_made_here_and_only_its_hash_goes_on() -> None:
    rpc = FakeRpc(b'{"ok":true,"result":{"key":{"name":"new"},"secret":null}}')
    text = '{"type":"command","message_id":"c1","command":"create_key","data":{"name":"new","scopes":["read"]}}'
    first, second = [(await run(rpc, text, holder("admin")))[0]["result"] for _ in range(2)]
    assert first == second == {"key": {"name": "new"}, "secret": derive_key(SECRET, "ci", "c1")}
    body = rpc.sent[0][1]
    assert json.loads(body)["data"]["key_hash"] == hash_key(first["secret"]).hex()
    assert first["secret"].encode() not in body


@pytest.mark.anyio
async def test_a_key_with_a_rate_is_stopped_when_it_is_used_up() -> None:
    keys = KeyRing(None)
    limited = RingKey(name="ci", key_hash="00" * 32, scopes=["publish"], sessions=None, topics=None, rate_per_minute=2)
    keys.replace([limited], [])
    rpc = FakeRpc(b'{"ok":true,"result":{}}')
    text = '{"type":"command","message_id":"c1","command":"create_session","data":{}}'
    answers = [(await run(rpc, text, holder("publish"), keys))[0] for _ in range(3)]
    assert [answer["type"] for answer in answers] == ["response", "response", "error"]
    assert (answers[2]["code"], answers[2]["details"]["limit"]) == ("rate_limited", 2)
    assert 25 < answers[2]["details"]["retry_after"] <= 30
    assert (await run(rpc, text, ANA, keys))[0]["type"] == "response"
