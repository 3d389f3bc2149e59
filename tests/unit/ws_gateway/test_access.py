"""Tokens, origins and places."""

import jwt
import pytest
from multidict import CIMultiDict

from services.ws_gateway.door.access import (
    Identity,
    Limits,
    Places,
    Refused,
    check_origin,
    identify,
    shown_token,
)
from shared.auth import sign

SECRET = "s" * 32
CLAIMS = {"sub": "ana", "kind": "human", "permission": "active"}


def refusal(token: str) -> Refused:
    with pytest.raises(Refused) as refused:
        identify(SECRET, token)
    return refused.value


def test_a_token_says_who_it_speaks_for() -> None:
    identity = identify(SECRET, sign(SECRET, "ws", {**CLAIMS, "topics": ["session.s1.#"]}, ttl_s=60))
    assert (identity.agent_id, identity.kind, identity.permission) == ("ana", "human", "active")
    assert identity.topics is not None
    assert identity.topics.cover("session.s1.created")
    assert identify(SECRET, sign(SECRET, "ws", CLAIMS, ttl_s=60)).topics is None


def test_a_token_that_is_expired_foreign_or_for_something_else_is_refused() -> None:
    for token in (
        sign(SECRET, "ws", CLAIMS, ttl_s=-1),
        sign("x" * 32, "ws", CLAIMS, ttl_s=60),
        sign(SECRET, "api", CLAIMS, ttl_s=60),
        jwt.encode({**CLAIMS, "aud": "ws", "exp": 9e9, "jti": "1"}, "", algorithm="none"),
        jwt.encode({**CLAIMS, "aud": "ws"}, SECRET, algorithm="HS256"),
        "no token",
        "",
        "\ud800",
    ):
        assert refusal(token).code == 4401


@pytest.mark.parametrize(
    "wrong",
    [
        {"sub": ""},
        {"sub": 7},
        {"kind": "robot"},
        {"permission": "root"},
        {"topics": "#"},
        {"topics": ["a..b"]},
    ],
)
def test_a_token_with_wrong_claims_is_refused(wrong: dict[str, object]) -> None:
    assert refusal(sign(SECRET, "ws", {**CLAIMS, **wrong}, ttl_s=60)).code == 4401


def test_the_token_is_found_wherever_it_may_be_shown() -> None:
    assert shown_token("/ws", CIMultiDict({"Authorization": "Bearer t1"})) == "t1"
    assert shown_token("/ws", CIMultiDict({"authorization": "bearer t1"})) == "t1"
    assert shown_token("/ws", CIMultiDict({"X-Memory-Auth": "t2"})) == "t2"
    assert shown_token("/ws", CIMultiDict({"Sec-WebSocket-Protocol": "switchyard.v1, token.t.3"})) == "t.3"
    assert shown_token("/ws", CIMultiDict({"Authorization": "Basic eA=="})) is None
    assert shown_token("/ws?topics=a", CIMultiDict()) is None


def test_a_token_in_the_url_is_refused() -> None:
    for path in ("/ws?token=t", "/ws?a=b&access_token=t"):
        with pytest.raises(Refused) as refused:
            shown_token(path, CIMultiDict())
        assert refused.value.code == 4401


def test_only_pages_of_allowed_origins_may_connect() -> None:
    allowed = frozenset({"http://127.0.0.1:8000"})
    check_origin(None, allowed)
    check_origin("http://127.0.0.1:8000", allowed)
    check_origin("HTTP://127.0.0.1:8000/", allowed)
    for origin in ("http://evil.example", "null", "", "http://127.0.0.1:8000.evil.example", "https://127.0.0.1:8000"):
        with pytest.raises(Refused) as refused:
            check_origin(origin, allowed)
        assert refused.value.code == 4403


def seat_of(kind: str, permission: str = "active", agent_id: str = "ana") -> Identity:
    return Identity(agent_id, kind, permission, 9e9)  # type: ignore[arg-type]


def test_an_agent_has_one_active_and_one_observer_connection_and_a_human_five() -> None:
    places = Places(Limits())
    taken = [("agent", "active"), ("agent", "observer"), *[("human", "active")] * 3, *[("human", "observer")] * 2]
    for kind, permission in taken:
        places.enter("1.2.3.4")
        places.seat("1.2.3.4", seat_of(kind, permission))
    for kind, permission in (("agent", "active"), ("agent", "observer"), ("human", "active")):
        places.enter("1.2.3.4")
        with pytest.raises(Refused) as refused:
            places.seat("1.2.3.4", seat_of(kind, permission))
        assert refused.value.code == 4409
        places.leave("1.2.3.4", None)
    places.enter("1.2.3.4")
    places.seat("1.2.3.4", seat_of("agent", "active", "bob"))
    places.leave("1.2.3.4", seat_of("agent", "active"))
    places.enter("1.2.3.4")
    places.seat("1.2.3.4", seat_of("agent", "active"))


def test_places_are_bounded_in_all_by_address_and_for_strangers() -> None:
    places = Places(Limits(total=4, per_address=3, unauthenticated=3, unauthenticated_per_address=2))
    places.enter("a")
    places.enter("a")
    with pytest.raises(Refused):
        places.enter("a")
    places.seat("a", seat_of("agent"))
    places.enter("a")
    with pytest.raises(Refused):
        places.enter("a")
    places.enter("b")
    with pytest.raises(Refused):
        places.enter("b")
    places.leave("a", None)
    places.enter("c")
    with pytest.raises(Refused):
        places.enter("d")
    assert places.total == 4


def test_places_given_back_leave_nothing_behind() -> None:
    places = Places(Limits())
    for number in range(100):
        places.enter(f"10.0.0.{number}")
        places.seat(f"10.0.0.{number}", seat_of("agent", agent_id=f"a{number}"))
    for number in range(100):
        places.leave(f"10.0.0.{number}", seat_of("agent", agent_id=f"a{number}"))
    assert (places.total, len(places._addresses), len(places._strangers), len(places._seats)) == (0, 0, 0, 0)


def test_a_token_carries_what_its_key_may_do() -> None:
    claims = {**CLAIMS, "issued_to": "ci", "scopes": ["agent"], "sessions": ["s1", "team-*"], "hears_sessions": True}
    identity = identify(SECRET, sign(SECRET, "ws", claims, ttl_s=60))
    assert (identity.caller.name, identity.caller.scopes) == ("ci", {"agent"})
    assert [identity.hears(topic) for topic in ("session.s1.#", "task.team-a.created", "session.s2.#", "#")] == [
        True,
        True,
        False,
        False,
    ]
    narrowed = {**claims, "topics": ["memory.s1.#"], "hears_sessions": False}
    narrow = identify(SECRET, sign(SECRET, "ws", narrowed, ttl_s=60))
    assert [narrow.hears(topic) for topic in ("memory.s1.#", "session.s1.#")] == [True, False]


@pytest.mark.parametrize("wrong", [{"scopes": ["root"]}, {"scopes": "read"}, {"sessions": "s1"}, {"issued_to": 7}])
def test_a_token_with_wrong_powers_is_refused(wrong: dict[str, object]) -> None:
    assert refusal(sign(SECRET, "ws", {**CLAIMS, **wrong}, ttl_s=60)).code == 4401
