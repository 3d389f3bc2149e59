"""create_key, list_keys, revoke_key and the ring of the doors, on a real database."""

import hashlib

import pytest

from tests.integration.handling import events_of, result_of

SECRET = "sy_a-secret-of-the-tests-that-nobody-else-has"
HASH = hashlib.sha256(SECRET.encode()).hexdigest()


def create(worker, name, key_hash=None, **fields):
    data = {"name": name, "scopes": ["read"], "key_hash": key_hash or hashlib.sha256(name.encode()).hexdigest()}
    return worker.do("create_key", {**data, **fields})


def revocation(worker):
    """The events of revoking the key `old`."""
    return events_of(worker.outcomes(worker.command("revoke_key", {"name": "old"}))[0])


def test_a_new_key_is_kept_by_its_hash_and_told_by_its_name_alone(worker):
    data = {"name": "ci", "scopes": ["read", "publish", "read"], "sessions": ["s1", "ci-*"], "key_hash": HASH}
    (outcome,) = worker.outcomes(worker.command("create_key", data))
    key = result_of(outcome)["key"]
    assert (key["name"], key["scopes"], key["sessions"]) == ("ci", ["publish", "read"], ["s1", "ci-*"])
    assert (key["topics"], key["rate_per_minute"], key["revoked"]) == (None, None, None)
    assert result_of(outcome)["secret"] is None
    (event,) = events_of(outcome)
    assert (outcome.events[0].routing_key, event["name"]) == ("system.key_changed", "ci")
    assert HASH not in outcome.events[0].body + outcome.reply.decode()
    assert worker.sql("select encode(key_hash, 'hex') from api_keys where name = 'ci'")[0][0] == HASH


def test_without_a_hash_no_key_is_made(worker):
    refusal = worker.do("create_key", {"name": "ci", "scopes": ["read"]})
    assert (refusal["code"], "key_hash" in refusal["message"]) == ("invalid", True)


@pytest.mark.parametrize("name", ["bootstrap", "dashboard", "bus"])
def test_switchyards_own_names_are_no_keys(worker, name):
    assert create(worker, name)["code"] == "conflict"
    assert worker.do("revoke_key", {"name": name})["code"] == "conflict"


def test_neither_a_name_nor_a_secret_is_used_twice_even_after_it_was_revoked(worker):
    create(worker, "ci", HASH)
    assert create(worker, "ci")["code"] == "conflict"
    assert create(worker, "ci2", HASH)["code"] == "conflict"
    worker.do("revoke_key", {"name": "ci"})
    assert create(worker, "ci")["code"] == "conflict"
    assert create(worker, "ci2", HASH)["code"] == "conflict"


def test_a_repeated_creation_gives_the_same_reply_and_one_key(worker):
    command = worker.command("create_key", {"name": "ci", "scopes": ["read"], "key_hash": HASH}, message_id="m1")
    (first,), (again,) = worker.outcomes(command), worker.outcomes(command)
    assert (first.reply, again.outcome) == (again.reply, "repeated")
    other = worker.command("create_key", {"name": "ci", "scopes": ["admin"], "key_hash": HASH}, message_id="m1")
    assert result_of(worker.outcomes(other)[0])["code"] == "conflict"


def test_a_revoked_key_leaves_the_ring_and_stays_on_the_list(worker):
    create(worker, "ci", HASH, topics=["webhook.#"], rate_per_minute=60)
    create(worker, "old")
    assert worker.ask("get_key_ring") == {
        "keys": [
            {"name": "ci", "key_hash": HASH, "scopes": ["read"], "sessions": None, "topics": ["webhook.#"],
             "rate_per_minute": 60},
            {"name": "old", "key_hash": hashlib.sha256(b"old").hexdigest(), "scopes": ["read"], "sessions": None,
             "topics": None, "rate_per_minute": None},
        ],
        "revoked": [],
        "revoked_tokens": [],
    }  # fmt: skip
    (told,) = revocation(worker)
    assert (told["type"], told["name"]) == ("key_changed", "old")
    ring = worker.ask("get_key_ring")
    assert ([key["name"] for key in ring["keys"]], ring["revoked"]) == (["ci"], ["old"])
    assert [(key["name"], key["revoked"] is None) for key in worker.ask("list_keys")["keys"]] == [
        ("ci", True),
        ("old", False),
    ]
    assert revocation(worker) == []


def test_names_revoked_before_any_living_token_was_signed_leave_the_ring(worker):
    create(worker, "old")
    worker.do("revoke_key", {"name": "old"})
    worker.sql("update api_keys set revoked = now() - interval '9 days'")
    assert worker.ask("get_key_ring") == {"keys": [], "revoked": [], "revoked_tokens": []}


def test_an_unknown_key_can_not_be_revoked(worker):
    assert worker.do("revoke_key", {"name": "nobody"})["code"] == "not_found"


def test_keys_are_listed_by_name_page_by_page(worker):
    for name in ("c", "a", "b"):
        create(worker, name)
    assert [key["name"] for key in worker.all_pages("list_keys", "keys", limit=2)] == ["a", "b", "c"]
    assert worker.ask("list_keys", cursor="WzFd")["code"] == "invalid"


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "white space"}, {"name": ""}, {"name": "-x"}, {"name": "x" * 101}, {"scopes": []},
        {"scopes": ["root"]}, {"sessions": []}, {"sessions": [""]}, {"topics": []}, {"topics": ["a..b"]},
        {"rate_per_minute": -1}, {"rate_per_minute": 1_000_001}, {"rate_per_minute": 1.5}, {"key_hash": "abc"},
        {"secret": "sy_mine"},
    ],
)  # fmt: skip
def test_a_wrong_field_is_named(module_worker, wrong):
    from shared.errors import Rejected

    with pytest.raises(Rejected, match=next(iter(wrong))) as error:
        module_worker.command("create_key", {"name": "ci", "scopes": ["read"], "key_hash": HASH, **wrong})
    assert error.value.code == "invalid"
