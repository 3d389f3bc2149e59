"""The migrations on real databases: up, down, up again, two at once, and nothing left out."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import psycopg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from cli.local.postgres import Postgres
from shared.database.tables import metadata

ROOT = Path(__file__).resolve().parents[3]
_numbers = count(1)


@pytest.fixture
def new_database(postgres: Postgres) -> Iterator[Callable[[], str]]:
    """Makes empty databases, dropped at the end."""
    made: list[str] = []

    def make() -> str:
        made.append(f"migrations_{next(_numbers)}")
        with psycopg.connect(postgres.url, autocommit=True) as connection:
            connection.execute(f"create database {made[-1]}")
        return re.sub(r"/[^/]*$", f"/{made[-1]}", postgres.url)

    yield make
    with psycopg.connect(postgres.url, autocommit=True) as connection:
        for name in made:
            connection.execute(f"drop database {name} with (force)")


def start(url: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "alembic", *words],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def alembic(url: str, *words: str) -> str:
    process = start(url, *words)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    return output


def newest() -> str:
    """The revision that `upgrade head` leads to."""
    return str(ScriptDirectory(str(ROOT / "migrations")).get_current_head())


def rows(url: str, statement: str) -> list[tuple]:
    with psycopg.connect(url) as connection:
        return connection.execute(statement).fetchall()


def tables(url: str) -> set[str]:
    return {name for (name,) in rows(url, "select tablename from pg_tables where schemaname = 'public'")}


CATALOGUE = {
    "columns": """
        select table_name, column_name, data_type, udt_name, is_nullable, column_default, is_generated,
            generation_expression, is_identity, identity_generation
        from information_schema.columns where table_schema = 'public'
    """,
    "indexes": "select tablename, indexdef from pg_indexes where schemaname = 'public'",
    "constraints": """
        select conrelid::regclass::text, contype::text, pg_get_constraintdef(oid)
        from pg_constraint where connamespace = 'public'::regnamespace and contype <> 'n'
    """,
    "options": """
        select relname, relkind::text, array(select unnest(reloptions) order by 1) from pg_class
        where relnamespace = 'public'::regnamespace and relkind in ('r', 'p')
    """,
}
PARTITION = re.compile(r"events_(\d{8}|default)")


def catalogue(url: str, what: str) -> set[tuple]:
    found = rows(url, CATALOGUE[what])
    return {tuple(map(str, row)) for row in found if not PARTITION.search(str(row[0])) and row[0] != "alembic_version"}


@pytest.mark.parametrize("what", CATALOGUE)
def test_the_migrations_make_exactly_what_the_code_declares(database_url, new_database, what):
    declared = new_database()
    engine = create_engine(declared.replace("postgresql://", "postgresql+psycopg://"))
    metadata.create_all(engine)
    engine.dispose()
    assert catalogue(database_url, what) == catalogue(declared, what)


def test_alembic_finds_nothing_to_change_partitions_included(database_url):
    assert "No new upgrade operations" in alembic(database_url, "check")


def test_there_and_back_and_there_again(new_database):
    url = new_database()
    alembic(url, "upgrade", "head")
    first = {what: catalogue(url, what) for what in CATALOGUE}
    alembic(url, "downgrade", "base")
    assert tables(url) == {"alembic_version"}
    alembic(url, "upgrade", "head")
    assert {what: catalogue(url, what) for what in CATALOGUE} == first


def test_a_second_run_changes_nothing(database_url):
    before = rows(database_url, "select epoch from event_log")
    alembic(database_url, "upgrade", "head")
    assert rows(database_url, "select epoch from event_log") == before


def test_two_migrators_at_once_do_not_clash(new_database):
    url = new_database()
    both = [start(url, "upgrade", "head") for _ in range(3)]
    ends = [(process.communicate(timeout=60)[0], process.returncode) for process in both]
    assert all(code == 0 for _, code in ends), ends
    assert rows(url, "select version_num from alembic_version") == [(newest(),)]


def test_a_migrator_that_finds_a_table_locked_gives_up_soon_and_changes_nothing(database_url):
    with psycopg.connect(database_url) as reader:
        reader.execute("select 1 from tasks")
        started = time.monotonic()
        process = start(database_url, "downgrade", "base")
        output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "lock timeout" in output
    assert time.monotonic() - started < 30
    assert "tasks" in tables(database_url)


def test_without_a_url_the_message_says_what_to_set():
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "-c", str(ROOT / "alembic.ini"), "current"],
        cwd="/",
        env={**environment, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "Set DATABASE_URL" in done.stdout + done.stderr


def test_the_three_agents_are_registered(database_url):
    found = rows(database_url, "select name, status from agents order by name")
    assert found == [("claude_code", "available"), ("codex", "available"), ("researcher", "available")]


def test_json_text_is_found_by_its_words_even_when_it_is_a_bare_string(database_url):
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into sessions (id) values ('s1')")
        for key, content in [
            ("string", '"swift foxes"'),
            ("deep", '{"a":[{"b":"a swift fox"}]}'),
            ("other", '"a dog"'),
        ]:
            connection.execute(
                "insert into memories (session_id, key, type, content, author, message_id)"
                " values ('s1', %s, 'fact', %s::json, 'a', 'm')",
                (key, content),
            )
        found = connection.execute(
            "select key from memories where search @@ websearch_to_tsquery('english', 'swift fox') order by key"
        )
        assert [key for (key,) in found.fetchall()] == ["deep", "string"]


def test_json_of_a_megabyte_of_rare_words_is_stored(database_url):
    words = '"' + " ".join(f"{n:x}-{n * 7919:x}" for n in range(90_000)) + '"'
    assert len(words) > 1_000_000
    with psycopg.connect(database_url) as connection:
        connection.execute("insert into sessions (id) values ('s1')")
        connection.execute(
            "insert into memories (session_id, key, type, content, author, message_id)"
            " values ('s1', 'k', 'fact', %s::json, 'a', 'm')",
            (words,),
        )
