"""The timeline: a session's events in the order of their numbers, from the recorder's table."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.session_worker.maintenance import keep_partitions
from services.session_worker.queries import timeline
from services.session_worker.store import timeline as store
from shared.messages import encode, new_id
from tests.integration.session_worker.conftest import SessionWorker

Record = Callable[..., None]


@pytest.fixture
def session_id(module_worker: SessionWorker) -> str:
    """A session that has counted nine events, none of which is recorded."""
    created: str = module_worker.do("create_session")["session"]["session_id"]
    module_worker.sql("update sessions set seq = 9 where id = :id", id=created)
    return created


@pytest.fixture
def record(module_worker: SessionWorker, session_id: str) -> Record:
    """Writes events with these numbers as the recorder does, in this order."""

    def write(*numbers: int, kind: str = "told", ago: timedelta = timedelta(0), text: str = "x") -> None:
        for number in numbers:
            module_worker.sql(
                """
                insert into events (cursor, timestamp, message_id, type, routing_key, session_id, session_seq, body)
                select coalesce(max(cursor), 0) + 1, :at, :message_id, :kind, 'session.x.told', :session_id, :seq,
                    cast(:body as json)
                from events
                """,
                at=datetime.now(UTC) - ago,
                message_id=new_id(),
                kind=kind,
                session_id=session_id,
                seq=number,
                body=encode({"type": kind, "session_seq": number, "text": text}).decode(),
            )

    return write


def numbers(page: dict[str, Any]) -> list[int]:
    return [entry["session_seq"] for entry in page["entries"]]


def test_entries_come_in_the_order_of_their_numbers_however_late_they_were_recorded(
    module_worker: SessionWorker, session_id: str, record: Record
) -> None:
    record(1, 3, 5, 2, 9, 8, 4, 6, 7)
    page = module_worker.ask("get_timeline", session_id=session_id)
    assert numbers(page) == [*range(1, 10)]
    assert (page["first_seq"], page["last_seq"], page["next"]) == (1, 9, None)
    cursors = [entry["cursor"] for entry in page["entries"]]
    assert sorted(cursors) != cursors
    assert page["entries"][0] == {"type": "told", "session_seq": 1, "text": "x", "cursor": cursors[0]}


def test_pages_hold_every_entry_once(module_worker: SessionWorker, session_id: str, record: Record) -> None:
    record(2, 1, 4, 3, 6, 5, 8, 7, 9)
    entries = module_worker.all_pages("get_timeline", "entries", session_id=session_id, limit=2)
    assert [entry["session_seq"] for entry in entries] == [*range(1, 10)]


def test_only_events_of_the_types_asked_for_are_shown(
    module_worker: SessionWorker, session_id: str, record: Record
) -> None:
    record(1, 3, 5, 7, 9)
    record(2, 6, kind="other")
    record(4, 8, kind="third")
    page = module_worker.ask("get_timeline", session_id=session_id, types=["other", "third"], limit=3)
    assert numbers(page) == [2, 4, 6]
    rest = module_worker.ask("get_timeline", session_id=session_id, types=["other", "third"], cursor=page["next"])
    assert (numbers(rest), rest["next"]) == ([8], None)


def test_a_page_looks_through_a_bounded_number_of_events(
    module_worker: SessionWorker, session_id: str, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "LOOKED_THROUGH", 4)
    record(*range(1, 9))
    record(9, kind="rare")
    page = module_worker.ask("get_timeline", session_id=session_id, types=["rare"])
    assert page["entries"] == []
    assert page["next"] is not None
    rest = module_worker.ask("get_timeline", session_id=session_id, types=["rare"], cursor=page["next"])
    last = module_worker.ask("get_timeline", session_id=session_id, types=["rare"], cursor=rest["next"])
    assert (numbers(rest), numbers(last), last["next"]) == ([], [9], None)


def test_a_session_of_many_days_is_read_across_partitions(
    module_worker: SessionWorker, session_id: str, record: Record
) -> None:
    module_worker.sql("update sessions set created = now() - interval '80 days' where id = :id", id=session_id)
    for number in range(1, 10):
        record(number, ago=timedelta(days=80 - 8 * number))
    entries = module_worker.all_pages("get_timeline", "entries", session_id=session_id, limit=2)
    assert [entry["session_seq"] for entry in entries] == [*range(1, 10)]


def test_what_retention_has_taken_is_said_by_the_first_number(
    module_worker: SessionWorker, session_id: str, record: Record
) -> None:
    record(6, 7, 8, 9)
    page = module_worker.ask("get_timeline", session_id=session_id, limit=2)
    assert (numbers(page), page["first_seq"], page["last_seq"]) == ([6, 7], 6, 9)
    assert module_worker.ask("get_timeline", session_id=session_id, cursor=page["next"])["first_seq"] == 6


def test_an_event_on_its_way_is_waited_for(
    module_worker: SessionWorker, session_id: str, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(*range(1, 9))
    looked = []
    real = store.find_recorded

    async def find_recorded(*asked: Any) -> store.Recorded:
        looked.append(asked)
        if len(looked) == 3:
            async with module_worker.database.transaction() as tx:
                await tx.execute(
                    store.text("""
                        insert into events (cursor, timestamp, message_id, type, routing_key, session_id, session_seq,
                            body)
                        select max(cursor) + 1, now(), 'late-' || :id, 'late', 'x', :id, 9, '{"session_seq": 9}'
                        from events
                    """),
                    {"id": session_id},
                )
        return await real(*asked)

    monkeypatch.setattr(timeline.store, "find_recorded", find_recorded)
    page = module_worker.ask("get_timeline", session_id=session_id)
    assert numbers(page) == [*range(1, 10)]
    assert len(looked) == 3


def test_what_does_not_come_is_waited_for_only_so_long(
    module_worker: SessionWorker, session_id: str, record: Record
) -> None:
    record(1, 2)
    page = module_worker.ask("get_timeline", session_id=session_id, wait_s=0.1)
    assert (numbers(page), page["last_seq"], page["next"]) == ([1, 2], 9, None)


def test_what_is_missing_of_a_quiet_session_is_not_waited_for(
    module_worker: SessionWorker, session_id: str, record: Record
) -> None:
    record(1, 2)
    module_worker.sql("update sessions set last_activity = now() - interval '2 minutes' where id = :id", id=session_id)
    start = time.monotonic()
    page = module_worker.ask("get_timeline", session_id=session_id, wait_s=2)
    assert (numbers(page), page["last_seq"], time.monotonic() - start < 2) == ([1, 2], 9, True)


def test_only_few_questions_wait_at_once(module_worker: SessionWorker, session_id: str) -> None:
    one = timeline.Timeline()
    command = module_worker.command("get_timeline", {"session_id": session_id})
    # Longer than anybody may ask for, so that it does not end under load.
    command = replace(command, data=command.data.model_copy(update={"wait_s": 60}))

    async def ask() -> None:
        async with module_worker.database.reading() as tx:
            await one.get_timeline(tx, command)

    async def ask_often() -> int:
        """How many of six are still waiting once the others, and one that came after them, have their answers."""
        waiting = {asyncio.create_task(ask()) for _ in range(6)}
        while len(waiting) > timeline.MAX_WAITING:
            done, waiting = await asyncio.wait(waiting, timeout=20, return_when=asyncio.FIRST_COMPLETED)
            assert done, f"{len(waiting)} wait"
        await asyncio.wait_for(ask(), 20)
        still = [each for each in waiting if not each.done()]
        for each in still:
            each.cancel()
        await asyncio.gather(*still, return_exceptions=True)
        return len(still)

    assert module_worker.run(ask_often()) == timeline.MAX_WAITING


def test_a_timeline_within_a_batch_never_waits(module_worker: SessionWorker, session_id: str) -> None:
    command = {"command": "get_timeline", "data": {"session_id": session_id}}
    start = datetime.now(UTC)
    result = module_worker.do("batch", commands=[command])["results"][0]
    assert (result["entries"], result["first_seq"], result["last_seq"]) == ([], None, 9)
    assert datetime.now(UTC) - start < timedelta(seconds=1)


def test_pages_of_large_events_stay_small(module_worker: SessionWorker, session_id: str, record: Record) -> None:
    record(*range(1, 10), text="".join(new_id() for _ in range(25_000)))
    page = module_worker.ask("get_timeline", session_id=session_id)
    assert 1 <= len(page["entries"]) < 9
    entries = module_worker.all_pages("get_timeline", "entries", session_id=session_id)
    assert [entry["session_seq"] for entry in entries] == [*range(1, 10)]


def test_a_session_that_does_not_exist_is_not_found(module_worker: SessionWorker) -> None:
    assert module_worker.ask("get_timeline", session_id="nobody")["code"] == "not_found"


def test_a_cursor_of_another_list_is_refused(module_worker: SessionWorker, session_id: str) -> None:
    assert module_worker.ask("get_timeline", session_id=session_id, cursor="WzFd")["code"] == "invalid"


def test_a_page_reads_only_the_index_of_the_days_it_needs(
    module_worker: SessionWorker, session_id: str, record: Record
) -> None:
    since = datetime.now(UTC)
    module_worker.run(keep_partitions(module_worker.database, 90, since))
    record(*range(1, 10))

    async def explained() -> str:
        async with module_worker.database.transaction() as tx:
            await tx.execute(store.text("set local enable_seqscan = off"))
            values = {
                "session_id": session_id, "since": since - timedelta(hours=1), "until": since + timedelta(hours=1),
                "types": None, "viewer": "ada", "seq": 0, "cursor": 0, "looked_through": 100, "limit": 100,
                "bytes": 1_000_000,
            }  # fmt: skip
            connection = await store.psycopg_of(tx)
            rows = await (await connection.execute(f"explain {store._PAGE}", values)).fetchall()
            return "\n".join(row[0] for row in rows)

    plan = module_worker.run(explained())
    # Of today, and of tomorrow or yesterday at most.
    assert 1 <= plan.count("session_id_session_seq_idx") <= 2
    assert "Seq Scan" not in plan
