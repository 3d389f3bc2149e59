"""A table full of memories before a measurement begins: COPY without the slow indexes, which are built afterwards."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
from psycopg import sql

SESSIONS = 1000
CONNECTIONS = 2
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
COLUMNS = "session_id, key, type, content, tags, author, message_id, created, updated"
# Ten memories a second from here on, so that the newest lie together in the table, as they do in life.
_BEGAN = datetime(2026, 1, 1, tzinfo=UTC)

_SLOW_INDEXES = """
    select indexname, indexdef from pg_indexes where tablename = 'memories' and indexname in
      (select indexrelid::regclass::text from pg_index where indrelid = 'memories'::regclass and not indisprimary)
"""
_SESSIONS = """
    insert into sessions (id, title) select 'old-' || to_char(n, 'FM0000'), 'old' from generate_series(0, %s) n
    on conflict do nothing
"""


def phrases(count: int = 20_000, vocabulary: int = 20_000) -> list[str]:
    """Phrases of five words, some words frequent and most of them rare; the same every time."""
    source = random.Random(1)
    words = ["".join(source.choices(_LETTERS, k=source.randint(3, 9))) for _ in range(vocabulary)]
    return [" ".join(words[int(vocabulary * source.random() ** 3)] for _ in range(5)) for _ in range(count)]


def rows(first: int, last: int) -> Iterator[bytes]:
    """Memories numbered from `first` up to `last`, of 25 words each, as COPY reads them."""
    source, known = random.Random(first), phrases()
    for number in range(first, last):
        text = " ".join(source.choices(known, k=5))
        moment = _BEGAN + number * timedelta(milliseconds=100)
        about = f"{{old}}\tbench\told-{number}\t{moment}\t{moment}"
        line = f'old-{number % SESSIONS:04d}\tm{number}\tfact\t"{text}"\t{about}\n'
        yield line.encode()


def load_memories(database_url: str, count: int) -> float:
    """Put `count` memories into sessions of their own; returns the seconds it took."""
    began = time.monotonic()
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("set maintenance_work_mem = '512MB'")
        indexes = connection.execute(_SLOW_INDEXES).fetchall()
        for name, _ in indexes:
            connection.execute(sql.SQL("drop index {}").format(sql.Identifier(name)))
        connection.execute(_SESSIONS, (SESSIONS - 1,))
        share = -(-count // CONNECTIONS)
        parts = [(first, min(first + share, count)) for first in range(0, count, share)]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            list(pool.map(lambda part: _copy(database_url, *part), parts))
        for _, definition in indexes:
            connection.execute(sql.SQL(definition))
        connection.execute("vacuum (analyze) memories")
        connection.execute("checkpoint")
    return time.monotonic() - began


def _copy(database_url: str, first: int, last: int) -> None:
    statement = f"copy memories ({COLUMNS}) from stdin"
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor, cursor.copy(statement) as copy:
        for row in rows(first, last):
            copy.write(row)
