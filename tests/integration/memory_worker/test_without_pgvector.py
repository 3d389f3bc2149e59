"""A PostgreSQL without pgvector, as Debian has it: everything but meaning works, and the reason is said."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.local import postgres
from services.memory_worker.store import vectors as store
from tests.conftest import migrate
from tests.integration.handling import result_of
from tests.integration.memory_worker.conftest import MemoryWorker

DEBIAN = Path("/usr/lib/postgresql/15/bin")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryWorker]:
    if not (DEBIAN / "postgres").exists():
        pytest.skip("Debian's postgresql-15 is not installed")
    if (DEBIAN.parents[2] / "share/postgresql/15/extension/vector.control").exists():
        pytest.skip("Debian's postgresql-15 has pgvector here")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postgres, "binaries", lambda: DEBIAN)
        server = postgres.Postgres(tmp_path_factory.mktemp("debian"))
        server.start()
    try:
        migrate(server.url)
        worker = MemoryWorker(server.url)
        worker.open_sessions("s1")
        yield worker
        worker.close()
    finally:
        server.stop("immediate")


def test_memories_are_stored_found_and_forgotten(plain):
    note = {"session_id": "s1", "type": "fact", "key": "k", "content": "a red car"}
    plain.store(note, note)
    (found,) = plain.ask("query_memories", text="car")["memories"]
    assert (found["key"], found["version"]) == ("k", 2)
    (outcome,) = plain.run(plain.commit(plain.command("forget_memory", {"session_id": "s1", "key": "k"})))
    assert result_of(outcome)["memory"]["content"] is None
    assert [each["version"] for each in plain.ask("memory_history", session_id="s1", key="k")["versions"]] == [2, 1]


def test_the_reason_why_there_are_no_vectors_says_what_to_install(plain):
    async def prepare() -> None:
        async with plain.database.transaction() as tx:
            await store.prepare(tx, 8)

    with pytest.raises(store.NoVectors, match="no pgvector; install it"):
        plain.run(prepare())


def test_vectors_that_come_all_the_same_are_dropped(plain):
    vector = {"session_id": "s1", "key": "k", "version": 1, "vector": [1.0]}
    command = plain.command("embed_memories", {"model": "m", "vectors": [vector]})
    (outcome,) = plain.run(plain.commit(command))
    assert result_of(outcome) == {"kept": 0, "stale": 1}
