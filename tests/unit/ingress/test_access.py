"""What a key may do at this door: scopes, sessions, topics, rates; and that its secret goes no further."""

from typing import Any

import orjson
import pytest

from shared.auth import derive_key, hash_key, verify
from shared.messages import COMMANDS, decode_command, spec_of
from shared.messages.access import RingKey
from tests.unit.ingress.conftest import KEY, SECRET, Doors, Got

pytestmark = pytest.mark.anyio
CI = "sy_the-secret-of-the-key-ci-0123456789"
ENOUGH = {
    "read": {"read", "admin"},
    "publish": {"publish", "admin"},
    "agent": {"agent", "publish", "admin"},
    "admin": {"admin"},
}


def key(*scopes: str, **fields: Any) -> RingKey:
    whole = {"sessions": None, "topics": None, "rate_per_minute": None, **fields}
    return RingKey(name="ci", key_hash=hash_key(CI).hex(), scopes=list(scopes), **whole)  # type: ignore[arg-type]


async def post(doors: Doors, path: str, body: Any, secret: str = CI, **headers: str) -> Got:
    given = {"Authorization": f"Bearer {secret}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return await doors.post(path, orjson.dumps(body), given)


async def run(doors: Doors, name: str, /, **data: Any) -> Got:
    return await post(doors, f"/api/commands/{name}", data, Prefer="respond-async")


def code_of(got: Got) -> str | None:
    """The code of a refusal; None when the command was taken, or nobody was there to answer it."""
    return None if got.status == 202 or got.json().get("code") == "unavailable" else got.json()["code"]


@pytest.mark.parametrize("scope", sorted(ENOUGH))
async def test_every_command_needs_its_scope(doors: Doors, scope: str) -> None:
    doors.keys.replace([key(scope)], [])
    for name, spec in COMMANDS.items():
        if spec.public:
            said = code_of(await run(doors, name, **spec.example))
            assert said == (None if scope in ENOUGH[spec.scope] else "forbidden"), name


async def test_a_key_is_good_until_it_is_revoked(doors: Doors) -> None:
    assert (await run(doors, "create_session")).status == 503
    doors.keys.replace([key("publish")], [])
    assert (await run(doors, "create_session")).status == 202
    doors.keys.replace([], ["ci"])
    assert (await run(doors, "create_session")).status == 401


async def test_while_the_keys_are_not_known_nobody_is_told_that_his_is_wrong(doors: Doors) -> None:
    got = await run(doors, "create_session")
    assert (got.status, got.json()["code"], got.headers["retry-after"]) == (503, "unavailable", "2")
    assert (await doors.command("create_session")).status == 202
    assert (await post(doors, "/api/commands/create_session", {}, "not-one-of-ours")).status == 401


async def test_the_keys_name_goes_with_the_command_and_can_not_be_given(doors: Doors) -> None:
    doors.keys.replace([key("publish")], [])
    await run(doors, "create_session")
    assert decode_command((await doors.kept_texts())[0]).caller == "ci"
    form = {"command": "create_session", "data": {}, "caller": "root"}
    assert (await post(doors, "/api/commands", form)).status == 422
    insight = {"type": "llm_conversation_insight", "session_id": "s1"}
    assert (await post(doors, "/webhook", insight)).status == 202
    assert decode_command((await doors.kept_texts())[1]).caller == "ci"


STORE = {"type": "fact", "content": "x"}


def ways_to_write(session_id: str) -> list[tuple[str, Any]]:
    """Every way in with a session in it: path and body."""
    data = {"session_id": session_id, **STORE}
    form = {"command": "store_memory", "data": data, "wait_s": 0}
    inner = [{"command": "create_session", "data": {"session_id": "s1"}}, {"command": "store_memory", "data": data}]
    return [
        ("/api/commands/store_memory", data),
        ("/api/commands/create_session", {"session_id": session_id}),
        ("/api/commands", form),
        ("/webhook", {"type": "collaborative_session_command", **form}),
        ("/api/sessions", {"sessionId": session_id}),
        ("/api/commands/batch", {"commands": inner}),
        ("/webhook", {"type": "llm_conversation_insight", "session_id": session_id}),
    ]


@pytest.mark.parametrize(
    ("session_id", "said"), [("s1", None), ("team-a", None), ("s2", "forbidden"), ("team", "forbidden")]
)
async def test_a_key_for_some_sessions_works_in_those_only_by_every_way_in(
    doors: Doors, session_id: str, said: str | None
) -> None:
    doors.keys.replace([key("publish", "read", sessions=["s1", "team-*"])], [])
    for path, body in ways_to_write(session_id):
        got = await post(doors, path, body, Prefer="respond-async")
        assert code_of(got) == said, path
        if said:
            assert got.json()["details"]["sessions"] == ["s1", "team-*"]
    for path in (f"/api/sessions/{session_id}", f"/api/actions/{session_id}", f"/api/state/{session_id}"):
        got = await doors.send("GET", path, headers={"X-API-Key": CI})
        assert code_of(got) == said, path
    assert len(await doors.kept()) == (0 if said else len(ways_to_write(session_id)))


@pytest.mark.parametrize(("session_id", "said"), [("s1", None), ("s2", "forbidden")])
async def test_a_tool_of_a_model_is_bound_as_well(doors: Doors, session_id: str, said: str | None) -> None:
    doors.keys.replace([key("publish", sessions=["s1"])], [])
    params = {"name": "store_memory", "arguments": {"session_id": session_id, **STORE}}
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    got = await post(doors, "/mcp", call, Accept="application/json", Content_Type="application/json")
    result = got.json()["result"]
    assert result["isError"]
    assert (said or "timeout") in orjson.dumps(result).decode()
    assert len(await doors.kept()) == (0 if said else 1)


async def test_such_a_key_does_nothing_outside_of_any_session(doors: Doors) -> None:
    doors.keys.replace([key("publish", "read", "admin", sessions=["s1"])], [])
    nowhere: list[tuple[str, dict[str, Any]]] = [
        ("create_session", {}), ("list_sessions", {}), ("query_memories", {"text": "x"}), ("list_tasks", {}),
        ("list_keys", {}), ("search", {"q": "x"}), ("batch", {"commands": [{"command": "create_session"}]}),
    ]  # fmt: skip
    for name, data in nowhere:
        assert (await run(doors, name, **data)).status == 403, name
    for path in ("/api/deliveries", "/api/deliveries/d1", "/api/dead-letters", "/api/query/recent"):
        assert (await doors.send("GET", path, headers={"X-API-Key": CI})).status == 403, path
    assert (await post(doors, "/api/dead-letters/redrive", {})).status == 403
    assert (await post(doors, "/webhook", {"hello": "world"})).status == 403
    assert (await post(doors, "/webhook", {"type": "llm_conversation_insight"})).status == 403
    assert await doors.kept() == []


@pytest.mark.parametrize("holder", [key("publish", "read", sessions=["s1"]), key("publish"), key("publish", "read")])
async def test_each_key_may_ask_after_a_command_of_its_own(doors: Doors, holder: RingKey) -> None:
    doors.keys.replace([holder], [])
    assert (await run(doors, "create_session", session_id="s1")).status == 202
    message_id = (await doors.kept())[0]["message_id"]
    got = await doors.send("GET", f"/api/commands/{message_id}", headers={"X-API-Key": CI})
    assert got.json() == {"status": "pending"}


async def test_a_rate_that_is_used_up_is_429_with_the_time_to_wait(doors: Doors) -> None:
    doors.keys.replace([key("publish", "read", rate_per_minute=3)], [])
    # However many times a route looks at the key, a request counts once; and refused ones count.
    assert (await post(doors, "/api/sessions", {})).status == 202
    assert (await run(doors, "nonsense")).status == 422
    assert (await doors.send("GET", "/api/deliveries", headers={"X-API-Key": CI})).status == 503
    got = await run(doors, "create_session")
    assert (got.status, got.json()["code"]) == (429, "rate_limited")
    assert 15 <= int(got.headers["retry-after"]) <= 20
    assert got.headers["ratelimit-policy"] == '"key";q=3;w=60'
    assert got.headers["ratelimit"].startswith('"key";r=0;t=')
    for path in ("/api/tokens", "/webhook", "/mcp", "/api/commands"):
        assert (await post(doors, path, {})).status == 429, path
    assert (await doors.command("create_session")).status == 202


def claims_of(got: Got) -> dict[str, Any]:
    return verify(SECRET, "ws", got.json()["token"])


async def test_a_socket_tokens_scopes_are_its_keys_at_most(doors: Doors) -> None:
    observer, active = ({"agent_id": "a", "permission": permission} for permission in ("observer", "active"))
    for scopes, may_observe, may_act in (
        (["read"], True, False),
        (["publish"], False, True),
        (["agent"], False, True),
        (["agent", "read"], True, True),
        (["admin"], True, True),
    ):
        doors.keys.replace([key(*scopes)], [])
        watching, acting = [await post(doors, "/api/tokens", asked) for asked in (observer, active)]
        assert (watching.status == 200, acting.status == 200) == (may_observe, may_act), scopes
        if may_observe:
            assert claims_of(watching)["scopes"] == ["read"]
        if may_act:
            claims = claims_of(acting)
            assert (claims["scopes"], claims["issued_to"]) == (sorted(scopes), "ci")
            assert "sessions" not in claims
            assert "topics" not in claims


async def test_a_socket_token_may_be_given_less_than_its_key_has(doors: Doors) -> None:
    doors.keys.replace([key("read", "publish")], [])
    for permission, scopes, given in (
        ("active", ["publish"], ["publish"]),
        ("active", ["read", "publish", "read"], ["publish", "read"]),
        ("active", ["agent"], ["agent"]),
        ("observer", ["read", "publish"], ["publish", "read"]),
    ):
        got = await post(doors, "/api/tokens", {"agent_id": "a", "permission": permission, "scopes": scopes})
        assert claims_of(got)["scopes"] == given
    for scopes in (["admin"], ["read", "admin"]):
        got = await post(doors, "/api/tokens", {"agent_id": "a", "scopes": scopes})
        assert (got.status, got.json()["details"]["scope"]) == (403, "admin")
    for scopes in ([], ["root"], "read"):
        assert (await post(doors, "/api/tokens", {"agent_id": "a", "scopes": scopes})).status == 422
    doors.keys.replace([key("admin")], [])
    got = await post(doors, "/api/tokens", {"agent_id": "a", "kind": "human", "scopes": ["read", "admin"]})
    assert claims_of(got)["scopes"] == ["admin", "read"]


async def test_a_socket_tokens_sessions_and_topics_lie_within_its_keys(doors: Doors) -> None:
    doors.keys.replace([key("read", sessions=["s1", "team-*"], topics=["webhook.github.#"])], [])
    claims = claims_of(await post(doors, "/api/tokens", {"agent_id": "a"}))
    assert claims["sessions"] == ["s1", "team-*"]
    assert (claims["topics"], claims["hears_sessions"]) == (["webhook.github.#"], True)

    asked = ["session.s1.#", "memory.team-a.*", "webhook.github.push"]
    claims = claims_of(await post(doors, "/api/tokens", {"agent_id": "a", "topics": asked}))
    assert claims["topics"] == asked
    assert "hears_sessions" not in claims

    for beyond in ("#", "session.#", "session.*.created", "session.s2.#", "webhook.#", "system.key_changed"):
        got = await post(doors, "/api/tokens", {"agent_id": "a", "topics": ["session.s1.#", beyond]})
        assert (got.status, got.json()["details"]["denied"]) == (403, [beyond])
        assert got.json()["details"]["topics"] == ["webhook.github.#"]
    doors.keys.replace([key("read", topics=["webhook.#"])], [])
    claims = claims_of(await post(doors, "/api/tokens", {"agent_id": "a"}))
    assert (claims["topics"], claims["hears_sessions"], "sessions" in claims) == (["webhook.#"], False, False)


async def test_a_new_keys_secret_goes_no_further_than_this_door(
    doors: Doors, capsys: pytest.CaptureFixture[str]
) -> None:
    data = b'{"name":"new","scopes":["read"]}'
    for _ in range(2):
        assert (await doors.command("create_key", data, Idempotency_Key="k1")).status == 202
    secret = derive_key(SECRET, "bootstrap", "k1")
    texts = await doors.kept_texts()
    assert len({orjson.dumps(orjson.loads(text)["data"]) for text in texts}) == 1
    assert decode_command(texts[0]).data.key_hash == hash_key(secret).hex()
    assert secret.encode() not in b"".join(texts)
    out = capsys.readouterr()
    assert secret not in out.out + out.err
    own = {"name": "new", "scopes": ["read"], "key_hash": "ab" * 32}
    await doors.command("create_key", orjson.dumps(own))
    assert decode_command((await doors.kept_texts())[-1]).data.key_hash == "ab" * 32


async def test_a_key_can_not_be_made_by_a_key_that_is_no_admins(doors: Doors) -> None:
    doors.keys.replace([key("publish", "read", "agent")], [])
    for name in ("create_key", "revoke_key", "list_keys", "list_audit"):
        assert (await run(doors, name, **spec_of(name).example)).status == 403
        inner = {"commands": [{"command": name, "data": spec_of(name).example}]}
        assert (await run(doors, "batch", **inner)).status == 422


async def test_who_was_refused_is_told_in_the_log_with_the_key_the_address_and_the_route(
    doors: Doors, capsys: pytest.CaptureFixture[str]
) -> None:
    doors.keys.replace([key("read", rate_per_minute=1)], [])
    await run(doors, "create_session")
    await run(doors, "create_session")
    await post(doors, "/api/commands/create_session", {}, "sy_somebody-elses-0123456789")
    lines = [line for line in capsys.readouterr().out.splitlines() if "access_refused" in line]
    assert len(lines) == 3
    for line, error, caller in zip(
        lines, ("forbidden", "rate_limited", "unauthorized"), ("ci", "ci", "None"), strict=True
    ):
        assert error in line
        assert caller in line
        assert "127.0.0.1" in line
        assert "/api/commands/{command}" in line
        assert "sy_" not in line
    assert KEY not in "".join(lines)
