"""Keys and tokens: what is accepted, and that nothing else is."""

import base64
import time

import jwt
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.auth import SCOPES, Caller, derive_key, login_code, make_key, sign, verify
from shared.errors import Rejected
from shared.limits import Bucket
from shared.messages import encode, spec_of
from shared.messages.commands import validate_data
from shared.reach import Sessions

SECRET = "a secret of the tests, long enough for HMAC"


def refused(token: str, *, secret: str = SECRET) -> str:
    with pytest.raises(Rejected) as error:
        verify(secret, "api", token)
    assert error.value.code == "unauthorized"
    return error.value.message


def test_a_token_gives_back_its_claims() -> None:
    claims = verify(SECRET, "api", sign(SECRET, "api", {"agent_id": "ada", "topics": ["a.#"]}, ttl_s=60))
    assert (claims["agent_id"], claims["topics"], claims["aud"]) == ("ada", ["a.#"], "api")
    assert 55 < claims["exp"] - time.time() <= 60


def test_two_tokens_of_the_same_claims_differ_in_their_id() -> None:
    one, other = (verify(SECRET, "ws", sign(SECRET, "ws", {}, ttl_s=60)) for _ in range(2))
    assert one["jti"] != other["jti"]


def test_an_expired_token_is_refused_and_the_hint_says_so() -> None:
    assert "expired" in refused(sign(SECRET, "api", {}, ttl_s=-1))


@pytest.mark.parametrize("audience", ["ws", "login"])
def test_a_token_for_another_use_is_refused(audience: str) -> None:
    refused(sign(SECRET, audience, {}, ttl_s=60))  # type: ignore[arg-type]


def test_a_token_signed_with_another_secret_is_refused() -> None:
    refused(sign("another secret that is just as long as that", "api", {}, ttl_s=60))


def test_claims_can_not_overrule_what_signing_sets() -> None:
    token = sign(SECRET, "api", {"aud": "ws", "exp": 2**40, "jti": "mine"}, ttl_s=60)
    claims = verify(SECRET, "api", token)
    assert claims["aud"] == "api"
    assert claims["exp"] < time.time() + 61
    assert claims["jti"] != "mine"


def test_a_token_without_a_signature_is_refused() -> None:
    header, payload, _ = sign(SECRET, "api", {}, ttl_s=60).split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    for token in (f"{none}.{payload}.", f"{header}.{payload}.", f"{header}.{payload}"):
        refused(token)


def test_one_changed_bit_of_the_payload_is_noticed() -> None:
    header, payload, signature = sign(SECRET, "api", {"agent_id": "ada"}, ttl_s=60).split(".")
    document = orjson.loads(base64.urlsafe_b64decode(payload + "=="))
    forged = base64.urlsafe_b64encode(orjson.dumps({**document, "agent_id": "eve"})).rstrip(b"=").decode()
    refused(f"{header}.{forged}.{signature}")


@pytest.mark.parametrize("missing", ["exp", "aud", "jti"])
def test_a_token_must_say_how_long_for_whom_and_which_it_is(missing: str) -> None:
    claims = {"exp": int(time.time()) + 60, "aud": "api", "jti": "1"}
    del claims[missing]
    refused(jwt.encode(claims, SECRET, algorithm="HS256"))


@pytest.mark.parametrize("claims", [{"exp": "soon"}, {"exp": None}, {"aud": 7}, {"aud": {}}])
def test_claims_of_a_wrong_type_are_refused(claims: dict[str, object]) -> None:
    whole = {"exp": int(time.time()) + 60, "aud": "api", "jti": "1", **claims}
    refused(jwt.encode(whole, SECRET, algorithm="HS256"))


@given(st.text(max_size=80) | st.lists(st.text(max_size=30), min_size=3, max_size=3).map(".".join))
def test_any_text_is_no_token(text: str) -> None:
    refused(text)


@pytest.mark.parametrize("text", ["\ud800", "a.b.\udfff", "é.é.é", "\0.\0.\0", "." * 1000, "a" * 100_000])
def test_not_even_text_nobody_can_write(text: str) -> None:
    refused(text)


def test_a_login_code_is_good_for_signing_in_and_nothing_else() -> None:
    code = login_code(SECRET)
    claims = verify(SECRET, "login", code)
    assert set(claims["scopes"]) <= SCOPES
    assert 14 * 60 < claims["exp"] - time.time() <= 15 * 60
    refused(code)


def test_a_missing_scope_is_forbidden_and_named() -> None:
    with pytest.raises(Rejected, match="lacks the scope 'publish'") as error:
        Caller("reader", frozenset({"read"})).require("publish")
    assert (error.value.code, error.value.details) == ("forbidden", {"scope": "publish"})
    Caller("root", frozenset({"admin"})).require("publish")


def test_keys_are_long_random_and_recognised_by_the_redaction() -> None:
    keys = {make_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(key.startswith("sy_") and len(key) >= 40 for key in keys)


def test_a_derived_key_is_the_same_for_the_same_message_and_nothing_like_it_for_another() -> None:
    key = derive_key(SECRET, "root", "m1")
    assert key == derive_key(SECRET, "root", "m1")
    assert key.startswith("sy_")
    assert len(key) == 46
    others = {derive_key(SECRET, "root", "m2"), derive_key(SECRET, "other", "m1"), derive_key("x" * 32, "root", "m1")}
    assert len(others | {key}) == 4


def permitted(caller: Caller, name: str, data: dict[str, object]) -> str | None:
    spec = spec_of(name)
    try:
        caller.permit(spec, validate_data(spec, data, encode(data)))
    except Rejected as error:
        return error.code
    return None


def test_a_key_for_some_sessions_may_only_name_those() -> None:
    bound = Caller("ci", frozenset({"admin"}), Sessions(["s1", "team-*"]))
    for session_id, said in (("s1", None), ("team-7", None), ("team-", None), ("s10", "forbidden"), ("s", "forbidden")):
        assert permitted(bound, "get_session", {"session_id": session_id}) == said
        assert permitted(bound, "create_session", {"session_id": session_id}) == said
    for name in ("create_session", "list_sessions", "list_tasks", "query_memories", "list_keys"):
        assert permitted(bound, name, {}) == "forbidden"
    with pytest.raises(Rejected, match="one of s1, team-\\*") as error:
        bound.enter("other")
    assert error.value.details == {"sessions": ["s1", "team-*"]}


def test_every_command_of_a_batch_is_looked_at_and_the_wrong_one_named() -> None:
    bound = Caller("ci", frozenset({"publish"}), Sessions(["s1"]))
    good = {"command": "create_session", "data": {"session_id": "s1"}}
    assert permitted(bound, "batch", {"commands": [good, good]}) is None
    for wrong in ({"command": "create_session", "data": {"session_id": "s2"}}, {"command": "create_session"},
                  {"command": "get_session", "data": {"session_id": "s1"}}):  # fmt: skip
        with pytest.raises(Rejected) as error:
            spec = spec_of("batch")
            data = {"commands": [good, wrong]}
            bound.permit(spec, validate_data(spec, data, encode(data)))
        assert (error.value.code, error.value.details["index"]) == ("forbidden", 1)


def test_whole_callback_urls_are_exported_to_admins_only() -> None:
    asked = {"session_id": "s1", "kind": "task"}
    assert permitted(Caller("ci", frozenset({"read"})), "export_records", asked) is None
    whole = {**asked, "callbacks": True}
    assert permitted(Caller("ci", frozenset({"read"})), "export_records", whole) == "forbidden"
    within = {"commands": [{"command": "export_records", "data": whole}]}
    assert permitted(Caller("ci", frozenset({"read", "publish"})), "batch", within) == "forbidden"
    assert permitted(Caller("ci", frozenset({"admin"})), "export_records", whole) is None


def test_a_rate_that_is_used_up_says_when_to_come_again() -> None:
    caller = Caller("ci", frozenset(), bucket=Bucket(1, 60))
    for _ in range(60):
        caller.count()
    with pytest.raises(Rejected, match="60 requests a minute") as error:
        caller.count()
    assert error.value.code == "rate_limited"
    assert (error.value.details["limit"], error.value.details["window_s"]) == (60, 60)
    assert 0.5 < error.value.details["retry_after"] <= 1
    Caller("free", frozenset()).count()


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        (Caller("k", frozenset({"publish", "read"})), True),
        (Caller("k", frozenset({"publish"})), False),
        (Caller("k", frozenset({"publish", "read"}), sessions=Sessions(["mine", "theirs"])), True),
        (Caller("k", frozenset({"publish", "read"}), sessions=Sessions(["mine"])), False),
    ],
)
def test_a_fork_takes_over_only_what_its_maker_may_read(caller: Caller, allowed: bool) -> None:
    spec = spec_of("create_session")
    document = {"session_id": "mine", "fork_of": "theirs"}
    data = validate_data(spec, document, encode(document))
    if allowed:
        caller.permit(spec, data)
    else:
        with pytest.raises(Rejected) as error:
            caller.permit(spec, data)
        assert error.value.code == "forbidden"
