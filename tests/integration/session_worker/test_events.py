"""The event log's questions on a real database."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from services.session_worker import store
from services.session_worker.store import events as event_store
from services.session_worker.topics import regex_of

START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


def a_row(cursor: int, routing_key: str = "session.s1.chunk", body: str | None = None, **more) -> bytes:
    row = {
        "cursor": cursor, "timestamp": (START + timedelta(minutes=30 * cursor)).isoformat(), "message_id": f"m{cursor}",
        "type": "x", "routing_key": routing_key, "session_id": "s1", "session_seq": cursor, **more,
    }  # fmt: skip
    words = body or f'{{"n":{cursor},"big":36893488147419103232,"e":1e5}}'
    return (json.dumps(row)[:-1] + f',"body":{words}}}').encode()


def record(worker, rows: list[bytes], checkpoint: int) -> None:
    async def write() -> None:
        async with worker.database.transaction() as tx:
            await store.events.insert_events(tx, rows)
            await tx.execute(text("update event_log set checkpoint = :last"), {"last": checkpoint})

    worker.run(write())


def test_an_empty_log_holds_no_cursors(worker):
    log = worker.ask("get_event_log")
    assert (log["base"], log["first"], log["last"]) == (1, 1, 0)
    assert re.fullmatch(r"[0-9a-f-]{36}", log["epoch"])
    assert worker.ask("list_events", after=-1) == {"events": [], "routing_keys": [], "next": None}


def test_the_log_says_which_cursors_it_holds(worker):
    record(worker, [a_row(n) for n in range(20, 120)], 119)
    log = worker.ask("get_event_log")
    assert (log["first"], log["last"]) == (20, 119)


def test_events_come_in_order_over_days_with_their_own_words_and_their_cursor(worker):
    record(worker, [a_row(n) for n in range(100)], 99)
    seen, after = [], -1
    while after is not None:
        page = worker.ask_text("list_events", after=after, limit=7).decode()
        seen += re.findall(r'\{"n":(\d+),"big":36893488147419103232,"e":1e5,"cursor":(\d+)\}', page)
        after = json.loads(page)["next"]
    assert seen == [(str(n), str(n)) for n in range(100)]


def test_until_is_the_last_one(worker):
    record(worker, [a_row(n) for n in range(10)], 9)
    page = worker.ask("list_events", after=2, until=5)
    assert [event["cursor"] for event in page["events"]] == [3, 4, 5]
    assert page["routing_keys"] == ["session.s1.chunk"] * 3
    assert page["next"] is None
    assert worker.ask("list_events", after=2, until=5, limit=3)["next"] is None
    assert worker.ask("list_events", after=2, until=5, limit=2)["next"] == 4
    assert worker.ask("list_events", after=5, until=5) == {"events": [], "routing_keys": [], "next": None}


def test_only_what_a_topic_matches_is_given_and_few_matches_are_not_the_end(worker, monkeypatch):
    monkeypatch.setattr(event_store, "_LOOKED_THROUGH", 10)
    record(worker, [a_row(n, "memory.s1.updated" if n % 40 == 7 else f"session.s{n}.chunk") for n in range(100)], 99)
    seen, pages, after = [], 0, -1
    while after is not None:
        page = worker.ask("list_events", after=after, topics=["memory.#", "session.s3.*"])
        seen += [event["cursor"] for event in page["events"]]
        after, pages = page["next"], pages + 1
    assert seen == [3, 7, 47, 87]
    assert pages == 11  # the last one finds that nothing follows


@pytest.mark.parametrize(
    ("topic", "keys"),
    [
        ("#", ["a", "a.b", "a.b.c", "a+b.(c)", "ü.漢.x", ""]),
        ("a.#", ["a", "a.b", "a.b.c"]),
        ("*.b.#", ["a.b", "a.b.c"]),
        ("#.c", ["a.b.c"]),
        ("*", ["a", ""]),
        ("a+b.(c)", ["a+b.(c)"]),
        ("*.漢.#", ["ü.漢.x"]),
        ("a?", []),
        ("[a]", []),
        ("a\\.b", []),
    ],
)
def test_postgresql_reads_the_patterns_as_meant(module_worker, topic, keys):
    every = ["a", "a.b", "a.b.c", "a+b.(c)", "ü.漢.x", ""]
    rows = module_worker.sql(
        "select key from unnest(cast(:keys as text[])) key where ('.' || key) ~ any(:patterns)",
        keys=every,
        patterns=[regex_of(topic)],
    )
    assert [row.key for row in rows] == keys


def test_a_page_is_bounded_by_its_bytes_and_one_large_event_still_fits(worker):
    large = json.dumps({"x": "".join(chr(97 + (n * n) % 23) for n in range(3_000_000))})
    record(worker, [a_row(n, body=large) for n in range(6)], 5)
    sizes, after = [], -1
    while after is not None:
        page = worker.ask("list_events", after=after)
        sizes.append(len(page["events"]))
        after = page["next"]
    assert sum(sizes) == 6
    assert max(sizes) <= 2


def test_a_copy_of_an_event_is_kept_once_whatever_its_cursor(worker):
    record(worker, [a_row(1), a_row(2, message_id="m1", timestamp=(START + timedelta(minutes=30)).isoformat())], 2)
    assert [event["cursor"] for event in worker.ask("list_events", after=-1)["events"]] == [1]


def test_an_event_of_a_day_without_a_partition_is_kept_all_the_same(worker):
    record(
        worker, [a_row(1, timestamp="1999-12-31T00:00:00Z"), a_row(2, timestamp="2999-01-01T00:00:00Z"), a_row(3)], 3
    )
    assert [event["cursor"] for event in worker.ask("list_events", after=-1)["events"]] == [1, 2, 3]
    assert worker.sql("select count(*) from events_default")[0][0] == 2
