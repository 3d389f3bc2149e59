"""The keys in force as a door knows them."""

import hmac

import pytest

from shared import key_ring
from shared.auth import SCOPES, hash_key, make_key
from shared.errors import Rejected
from shared.key_ring import KeyRing
from shared.messages.access import RingKey
from shared.messages.live import RevokedTokens


def ring_key(name: str, secret: str = "", **fields: object) -> RingKey:
    whole = {"scopes": ["read"], "sessions": None, "topics": None, "rate_per_minute": None, **fields}
    return RingKey(name=name, key_hash=hash_key(secret or name).hex(), **whole)  # type: ignore[arg-type]


def test_the_bootstrap_key_may_do_everything_as_often_as_it_likes() -> None:
    caller = KeyRing("the bootstrap key", default_rate=1).find("the bootstrap key")
    assert caller is not None
    for scope in SCOPES:
        caller.require(scope)
        caller.count()


def test_only_known_keys_are_found_and_only_by_their_whole_text() -> None:
    key, ring = make_key(), KeyRing("bootstrap")
    ring.replace([ring_key("reader", key)], [])
    found = ring.find(key)
    assert found is not None
    assert (found.name, found.scopes) == ("reader", {"read"})
    for wrong in (key[:-1], key + "x", key.upper(), "", " " + key, hash_key(key).hex(), "reader"):
        assert ring.find(wrong) is None
    ring.replace([], ["reader"])
    assert ring.find(key) is None
    assert (ring.named("reader"), ring.is_revoked("reader"), ring.is_revoked("other")) == (None, True, False)


def test_until_the_keys_are_known_a_key_that_may_be_one_is_not_called_wrong() -> None:
    ring = KeyRing("bootstrap")
    with pytest.raises(Rejected) as error:
        ring.find(make_key())
    assert (error.value.code, error.value.details["retry_after"]) == ("unavailable", 2)
    assert ring.find("no key of ours") is None
    assert ring.find("bootstrap") is not None
    ring.replace([], [])
    assert ring.find(make_key()) is None


def test_a_wrong_key_is_compared_in_constant_time_and_by_its_hash_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def comparing(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(key_ring.hmac, "compare_digest", comparing)
    ring = KeyRing("bootstrap")
    ring.replace([ring_key("a")], [])
    for wrong in ("", "boot", "bootstra", "b" * 10_000, "a"):
        ring.find(wrong)
    assert [{len(one), len(other)} for one, other in compared] == [{32}] * 5


def test_what_bounds_a_key_is_known_at_the_door() -> None:
    ring = KeyRing(None, default_rate=120)
    ring.replace([ring_key("bound", sessions=["s1"], topics=["webhook.#"]), ring_key("free", rate_per_minute=0)], [])
    bound, free = ring.named("bound"), ring.named("free")
    assert bound is not None
    assert bound.sessions is not None
    assert bound.topics is not None
    assert (bound.sessions.patterns, bound.topics.patterns) == (("s1",), {"webhook.#"})
    assert bound.bucket is not None
    assert (bound.bucket.rate, bound.bucket.burst) == (2, 120)
    assert free is not None
    assert free.bucket is None


def test_a_rate_used_up_stays_so_when_the_keys_are_loaded_again() -> None:
    ring = KeyRing(None)
    ring.replace([ring_key("ci", rate_per_minute=1)], [])
    caller = ring.named("ci")
    assert caller is not None
    caller.count()
    ring.replace([ring_key("other"), ring_key("ci", rate_per_minute=1)], [])
    again = ring.named("ci")
    assert again is not None
    with pytest.raises(Rejected):
        again.count()
    ring.replace([ring_key("ci", rate_per_minute=2)], [])
    raised = ring.named("ci")
    assert raised is not None
    raised.count()


def test_revoked_tokens_are_known_by_their_id_and_an_agents_by_when_they_were_made() -> None:
    ring = KeyRing(None)
    revoked = [
        RevokedTokens(token_id="t1", agent_id=None, made_until=100.5),
        RevokedTokens(token_id=None, agent_id="ana", made_until=100.5),
        RevokedTokens(token_id=None, agent_id="ana", made_until=99.0),
    ]
    ring.replace([], [], revoked)
    assert ring.is_token_revoked("t1", "eve", 200.0)
    assert [ring.is_token_revoked("t2", "ana", issued) for issued in (99.0, 100.5, 100.6)] == [True, True, False]
    assert not ring.is_token_revoked("t2", "eve", 1.0)
    ring.replace([], [])
    assert not ring.is_token_revoked("t1", "ana", 1.0)
