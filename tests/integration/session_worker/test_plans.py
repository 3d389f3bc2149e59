"""The statements that run often find their rows by an index, however many there are."""

import re
from datetime import UTC, datetime

import pytest

from services.session_worker import store
from services.session_worker.topics import regex_of

MOMENT = datetime(2026, 1, 1, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def full(module_worker):
    """Tables with enough rows that reading them through would be the worse plan."""
    module_worker.sql("""
        insert into sessions (id, status, last_activity)
        select 's' || n, case when n % 50 = 0 then 'paused' else 'active' end,
            timestamptz '2026-01-01' + n * interval '1 second'
        from generate_series(1, 20000) n
    """)
    module_worker.sql("""
        insert into deliveries (message_id, source, delivery_id, event, payload, received)
        select 'm' || n, 'source' || n % 100, 'd' || n, 'push', '{}', timestamptz '2026-01-01' + n * interval '1 second'
        from generate_series(1, 20000) n
    """)
    module_worker.sql("""
        insert into handled_messages (message_id, command, reply, expires_at)
        select 'm' || n, 'x', '{}', now() + (n - 5000) * interval '1 second' from generate_series(1, 20000) n
    """)
    module_worker.sql("""
        insert into events (cursor, timestamp, message_id, type, routing_key, session_id, session_seq, body)
        select n, now() + (n % 10) * interval '1 day', 'm' || n, 'x', 'session.s' || n % 100 || '.chunk',
            's' || n % 100, n, '{}'
        from generate_series(1, 20000) n
    """)
    module_worker.sql("""
        insert into dead_letters (letter_key, exchange, routing_key, reason, body, redrive_due)
        select n, '', '', '', '', case when n % 1000 = 0 then now() end from generate_series(1, 20000) n
    """)
    for table in ("sessions", "deliveries", "handled_messages", "events", "dead_letters"):
        module_worker.sql(f"analyze {table}")
    return module_worker


STATEMENTS = {
    "find_session": (lambda tx: store.sessions.find_session(tx, "s77"), "sessions_pkey"),
    "lock_session": (lambda tx: store.sessions.lock_session(tx, "s77"), "sessions_pkey"),
    "list_sessions": (lambda tx: store.sessions.list_sessions(tx, None, None, 50), "sessions_by_activity"),
    "list_sessions_on": (lambda tx: store.sessions.list_sessions(tx, None, (MOMENT, "s9"), 50), "sessions_by_activity"),
    "list_paused": (lambda tx: store.sessions.list_sessions(tx, "paused", None, 50), "sessions_by_status"),
    "list_paused_on": (lambda tx: store.sessions.list_sessions(tx, "paused", (MOMENT, "s9"), 50), "sessions_by_status"),
    "find_delivery": (lambda tx: store.deliveries.find_delivery(tx, "d77"), "deliveries_by_delivery"),
    "find_recorded": (lambda tx: store.deliveries.find_recorded(tx, ["m7", "m8"]), "deliveries_pkey"),
    "list_deliveries": (lambda tx: store.deliveries.list_deliveries(tx, None, None, 50), "deliveries_newest"),
    "list_of_source": (
        lambda tx: store.deliveries.list_deliveries(tx, "source7", None, 50), "deliveries_newest_of_source",
    ),
    "find_handled": (lambda tx: store.handled.find_handled(tx, "m77"), "handled_messages_pkey"),
    "delete_expired": (lambda tx: store.handled.delete_expired(tx, 100), "handled_messages_expiry"),
    "first_cursor": (lambda tx: store.events.first_cursor(tx), r"events_\d+_pkey"),
    "message_at": (lambda tx: store.events.message_at(tx, 77), r"events_\d+_pkey"),
    "list_events": (lambda tx: store.events.list_events(tx, 10_000, None, [], 100), r"events_\d+_pkey"),
    "list_topics": (
        lambda tx: store.events.list_events(tx, 10_000, None, [regex_of("session.s7.#")], 100), r"events_\d+_pkey",
    ),
    "list_letters": (lambda tx: store.dead_letters.list_letters(tx, None, 50, 100), "dead_letters_pkey"),
    "claim_redrives": (lambda tx: store.dead_letters.claim_redrives(tx, 10), "dead_letters_to_redrive"),
}  # fmt: skip


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_frequent_statement_uses_its_index(full, name):
    run, index = STATEMENTS[name]
    plan = full.plan(run)
    assert re.search(rf"using {index}|on {index}", plan), plan
    # Partitions without rows are read through for nothing.
    read_through = [line for line in plan.splitlines() if "Seq Scan" in line and "rows=0" not in line]
    assert not read_through, plan


@pytest.mark.parametrize("name", ["list_sessions", "list_paused_on", "list_of_source", "list_events", "list_letters"])
def test_a_page_reads_little_more_than_the_page(full, name):
    plan = full.plan(STATEMENTS[name][0])
    rows = [float(count) for count in re.findall(r"Index Scan.*?rows=([\d.]+)", plan)]
    assert sum(rows) <= 250, plan
