"""The audit log: what is written with each command, its pages, its pruning, on a real database."""

from datetime import UTC, datetime, timedelta

import pytest

from services.session_worker import store
from services.session_worker.maintenance import prune_audit
from tests.integration.handling import result_of


def entries(worker, **filters):
    return worker.ask("list_audit", **filters)["entries"]


def run(worker, name, data=None, **options):
    return worker.outcomes(worker.command(name, data or {}, **options))[0]


def test_a_write_is_told_with_its_key_agent_ids_and_outcome(worker):
    before = datetime.now(UTC) - timedelta(seconds=5)
    run(worker, "create_session", {"session_id": "s1"}, caller="ci", sender="coder", message_id="m1")
    chunk = run(worker, "conversation_chunk", {"session_id": "s1", "content": "x"}, caller="ci", message_id="m2")
    said, opened = entries(worker)
    assert {name: opened[name] for name in opened if name not in ("audit_id", "timestamp")} == {
        "key": "ci", "agent_id": "coder", "command": "create_session", "message_id": "m1", "session_id": "s1",
        "target": "s1", "outcome": "ok",
    }  # fmt: skip
    assert (said["session_id"], said["target"]) == ("s1", result_of(chunk)["chunk"]["chunk_id"])
    assert said["audit_id"] > opened["audit_id"]
    assert before < datetime.fromisoformat(opened["timestamp"]) < datetime.now(UTC) + timedelta(seconds=5)


def test_an_id_that_was_made_is_the_target_and_the_session(worker):
    made = result_of(run(worker, "create_session", caller="ci"))["session"]["session_id"]
    (entry,) = entries(worker)
    assert (entry["session_id"], entry["target"]) == (made, made)


def test_a_refusal_is_told_with_its_code(worker):
    run(worker, "conversation_chunk", {"session_id": "none", "content": "x"}, caller="ci")
    run(worker, "create_session", {"session_id": "s1"}, caller="ci")
    run(worker, "create_session", {"session_id": "s1"}, caller="ci")
    assert [(each["command"], each["outcome"], each["target"]) for each in entries(worker)] == [
        ("create_session", "conflict", None),
        ("create_session", "ok", "s1"),
        ("conversation_chunk", "not_found", None),
    ]


def test_a_repetition_is_no_second_write(worker):
    for _ in range(2):
        run(worker, "create_session", {"session_id": "s1"}, caller="ci", message_id="m1")
    assert [each["message_id"] for each in entries(worker)] == ["m1"]


def test_without_a_door_the_key_is_the_bus(worker):
    run(worker, "create_session", {"session_id": "s1"})
    assert entries(worker)[0]["key"] == "bus"


def test_webhooks_and_timers_that_find_nothing_are_not_told(worker):
    run(worker, "receive_webhook", {"source": "x", "event": "e", "delivery_id": "d", "payload": 1}, message_id="d1")
    run(worker, "redrive_dead_letters", sender="system")
    assert entries(worker) == []
    run(worker, "redrive_dead_letters", caller="ops", sender="system")
    assert [each["key"] for each in entries(worker)] == ["ops"]


def test_every_command_of_a_batch_has_a_row_under_the_batchs_message(worker):
    commands = [
        {"command": "create_session", "data": {"session_id": "s1"}},
        {"command": "conversation_chunk", "data": {"session_id": "s1", "chunk_id": "c1", "content": "x"}},
        {"command": "get_session", "data": {"session_id": "s1"}},
    ]
    run(worker, "batch", {"commands": commands}, caller="ci", message_id="b1")
    assert sorted((each["command"], each["session_id"], each["target"]) for each in entries(worker, key="ci")) == [
        ("batch", None, None),
        ("conversation_chunk", "s1", "c1"),
        ("create_session", "s1", "s1"),
    ]
    assert {each["message_id"] for each in entries(worker)} == {"b1"}
    run(worker, "batch", {"commands": [commands[0]]}, caller="ci", message_id="b2")
    assert [(each["command"], each["outcome"]) for each in entries(worker) if each["message_id"] == "b2"] == [
        ("batch", "conflict")
    ]


def test_keys_made_and_revoked_are_told_and_no_hash_is(worker):
    run(worker, "create_key", {"name": "ci", "scopes": ["read"], "key_hash": "ab" * 32}, caller="bootstrap")
    run(worker, "revoke_key", {"name": "ci"}, caller="bootstrap")
    assert [(each["command"], each["target"]) for each in entries(worker)] == [
        ("revoke_key", "ci"),
        ("create_key", "ci"),
    ]
    assert "abab" not in str(worker.sql("select audit::text from audit"))


def test_what_a_rolled_back_transaction_did_is_not_told(worker):
    with pytest.raises(KeyError):
        worker.outcomes(worker.command("create_session", {}), worker.command("claim_task", {
            "agent_name": "a", "worker_id": "w"}))  # fmt: skip
    assert entries(worker) == []


@pytest.fixture(scope="module")
def log(module_worker):
    """Sixty entries of three keys and two sessions, a minute apart."""
    module_worker.sql("""
        insert into audit (at, key, agent_id, command, message_id, session_id, target, outcome)
        select timestamptz '2026-01-01T00:00:00Z' + n * interval '1 minute', 'k' || n % 3, 'a', 'c' || n % 5, 'm' || n,
            case when n % 2 = 0 then 's1' end, null, 'ok'
        from generate_series(0, 59) n
    """)
    return module_worker


def test_the_log_is_read_newest_first_page_by_page(log):
    found = [entry["message_id"] for entry in log.all_pages("list_audit", "entries", limit=7)]
    assert found == [f"m{n}" for n in reversed(range(60))]


@pytest.mark.parametrize(
    ("filters", "wanted"),
    [
        ({"key": "k1"}, lambda n: n % 3 == 1),
        ({"command": "c2"}, lambda n: n % 5 == 2),
        ({"session_id": "s1"}, lambda n: n % 2 == 0),
        ({"key": "k1", "command": "c2", "session_id": "s1"}, lambda n: n % 30 == 22),
        ({"since": "2026-01-01T00:30:00Z"}, lambda n: n >= 30),
        ({"until": "2026-01-01T02:00:00+02:00"}, lambda n: False),
        ({"until": "2026-01-01T02:10:00+02:00"}, lambda n: n < 10),
        ({"since": "2026-01-01T00:10:00z", "until": "2026-01-01T00:20:00Z", "key": "k0"}, lambda n: n in (12, 15, 18)),
        ({"key": "nobody"}, lambda n: False),
    ],
)
def test_filters_narrow_it_down(log, filters, wanted):
    found = [entry["message_id"] for entry in log.all_pages("list_audit", "entries", limit=4, **filters)]
    assert found == [f"m{n}" for n in reversed(range(60)) if wanted(n)]


def test_an_impossible_moment_or_cursor_is_invalid(log):
    assert log.ask("list_audit", since="2026-02-31T00:00:00Z")["code"] == "invalid"
    assert log.ask("list_audit", cursor="bm9uc2Vuc2U")["code"] == "invalid"


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({}, "audit_pkey"),
        ({"since": datetime(2026, 1, 1, tzinfo=UTC)}, "audit_pkey"),
        ({"key": "k1"}, "audit_of_key"),
        ({"command": "c9"}, "audit_of_command"),
        ({"session_id": "s1"}, "audit_of_session"),
    ],
)
def test_a_page_is_read_from_an_index_in_order(worker, filters, index):
    worker.sql("""
        insert into audit (at, key, agent_id, command, message_id, session_id, outcome)
        select timestamptz '2026-01-01T00:00:00Z' + n * interval '1 s', 'k' || n % 50, 'a', 'c' || n % 40, 'm' || n,
            's' || n % 60, 'ok'
        from generate_series(1, 20000) n
    """)
    worker.sql("analyze audit")
    before = (datetime(2027, 1, 1, tzinfo=UTC), 1)
    plan = worker.plan(lambda tx: store.audit.list_entries(tx, filters, before, 51))
    assert index in plan
    assert "Sort" not in plan
    assert "Seq Scan" not in plan


def test_entries_past_their_time_are_pruned_in_small_batches(worker):
    worker.sql("""
        insert into audit (at, key, agent_id, command, message_id, outcome)
        select now() - n * interval '1 hour', 'k', 'a', 'c', 'm' || n, 'ok' from generate_series(1, 2500) n
    """)
    assert worker.run(prune_audit(worker.database, datetime.now(UTC) - timedelta(hours=100.5))) == 2400
    assert worker.sql("select count(*) from audit")[0][0] == 100
