"""Partitions made and dropped, and expired rows deleted, on a real database."""

import asyncio
from datetime import UTC, datetime, timedelta

from services.session_worker import store
from services.session_worker.maintenance import expire_handled, keep_partitions

NOW = datetime.now(UTC)


def partition_days(worker):
    async def read():
        async with worker.database.reading() as tx:
            return await store.partitions.days(tx)

    return worker.run(read())


def put_event(worker, cursor, moment):
    worker.sql(
        "insert into events (cursor, timestamp, message_id, type, routing_key, body)"
        " values (:n, :at, :id, 'x', 'a.b', '{}')",
        n=cursor, at=moment, id=f"m{cursor}",
    )  # fmt: skip


def days(first: int, last: int, today: datetime = NOW) -> set:
    return {(today + timedelta(days=n)).date() for n in range(first, last + 1)}


def test_the_migration_leaves_partitions_from_yesterday_to_two_weeks_ahead(worker):
    assert partition_days(worker) == days(-1, 14)


def test_coming_days_are_made_ahead_and_old_ones_dropped(worker):
    put_event(worker, 1, NOW)
    later = NOW + timedelta(days=12)
    worker.run(keep_partitions(worker.database, 10, later))
    assert partition_days(worker) == days(2, 26)
    assert worker.sql("select count(*) from events")[0][0] == 0


def test_nothing_is_done_twice(worker):
    worker.run(keep_partitions(worker.database, 10, NOW))
    assert partition_days(worker) == days(-1, 14)


def test_several_at_once_do_it_once(worker):
    async def at_once():
        later = NOW + timedelta(days=3)
        await asyncio.gather(*(keep_partitions(worker.database, 10, later) for _ in range(4)))

    worker.run(at_once())
    assert partition_days(worker) == days(-1, 17)


def test_events_that_landed_in_the_default_partition_move_into_their_day(worker):
    late = NOW + timedelta(days=20)
    put_event(worker, 1, late)
    put_event(worker, 2, datetime(1999, 1, 1, tzinfo=UTC))
    worker.run(keep_partitions(worker.database, 90, NOW + timedelta(days=10)))
    assert worker.sql(f"select cursor from events_{late:%Y%m%d}")[0].cursor == 1
    # The stray one is older than events are kept.
    assert worker.sql("select count(*) from events")[0][0] == 1


def test_a_partition_made_later_has_the_indexes_of_the_others(worker):
    worker.run(keep_partitions(worker.database, 90, NOW + timedelta(days=1)))

    def indexes(day):
        rows = worker.sql(
            "select replace(indexdef, tablename, 'x') as it from pg_indexes where tablename = :name",
            name=f"events_{day:%Y%m%d}",
        )
        return sorted(row.it.replace(f"{day:%Y%m%d}", "") for row in rows)

    assert len(indexes(NOW)) == 3
    assert indexes(NOW + timedelta(days=15)) == indexes(NOW)


def test_expired_records_go_and_the_rest_stays(worker):
    worker.sql("""
        insert into handled_messages (message_id, command, reply, events, expires_at) values
            ('old', 'x', '{}', null, now() - interval '1 second'),
            ('new', 'x', '{}', null, now() + interval '1 hour'),
            ('unconfirmed', 'x', '{}', '[]', now() - interval '6 days'),
            ('given up', 'x', '{}', '[]', now() - interval '8 days')
    """)
    assert worker.run(expire_handled(worker.database)) == 2
    rows = worker.sql("select message_id from handled_messages order by 1")
    assert [row.message_id for row in rows] == ["new", "unconfirmed"]


def test_many_expired_records_go_in_small_batches(worker):
    worker.sql("""
        insert into handled_messages (message_id, command, reply, expires_at)
        select n, 'x', '{}', now() - interval '1 second' from generate_series(1, 2500) n
    """)
    assert worker.run(expire_handled(worker.database)) == 2500
    assert worker.run(expire_handled(worker.database)) == 0
