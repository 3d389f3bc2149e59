"""query_memories by meaning: vectors kept by embed_memories, and an order out of words and meaning."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from services.memory_worker import queries as module
from services.memory_worker import vectors as making
from services.memory_worker.embeddings import Embeddings
from services.memory_worker.queries import queries
from services.memory_worker.store import vectors as store
from services.memory_worker.vectors import Embedder, text_of
from shared.errors import Rejected
from shared.messages import decode_command
from standins.embeddings import DIMENSIONS, EmbeddingsServer, vector_of
from tests.conftest import ROOT
from tests.integration.handling import result_of
from tests.integration.memory_worker.conftest import MemoryWorker


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddingsServer]:
    with EmbeddingsServer() as server:
        yield server


@pytest.fixture
def server(running: EmbeddingsServer) -> EmbeddingsServer:
    running.behaviour = "ok"
    running.asked.clear()
    return running


@pytest.fixture
def meaning(worker: MemoryWorker, server: EmbeddingsServer) -> Iterator[MemoryWorker]:
    """The worker with an endpoint and a place for vectors."""
    embedder = Embedder(Embeddings(server.url, model="words", dimensions=DIMENSIONS))
    prepare(worker)
    embedder.fault = None
    worker.queries = queries(embedder)
    yield worker
    worker.run(embedder.embeddings.close())


def prepare(worker: MemoryWorker, dimensions: int = DIMENSIONS) -> None:
    async def make() -> None:
        async with worker.database.transaction() as tx:
            await store.prepare(tx, dimensions)

    worker.run(make())


def look(worker: MemoryWorker, after: store.Place | None = None, model: str = "words") -> store.Page:
    async def ask() -> store.Page:
        async with worker.database.reading() as tx:
            return await store.look(tx, model, after)

    return worker.run(ask())


def note(key: str, content: Any, session: str = "s1", type: str = "fact", tags: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"session_id": session, "type": type, "key": key, "content": content, "tags": list(tags)}


def embed(worker: MemoryWorker, *places: tuple[str, str, int], model: str = "words", length: int = DIMENSIONS) -> Any:
    """Keep the vectors of these versions, or of all that have none."""

    async def made() -> list[dict[str, Any]]:
        async with worker.database.reading() as tx:
            versions = await store.contents(tx, places or (await store.look(tx, model, None)).missing)
        return [
            {"session_id": one.session_id, "key": one.key, "version": one.version,
             "vector": vector_of(text_of(one), length)}
            for one in versions
        ]  # fmt: skip

    return keep(worker, worker.run(made()), model)


def keep(worker: MemoryWorker, vectors: list[dict[str, Any]], model: str = "words") -> Any:
    command = worker.command("embed_memories", {"model": model, "vectors": vectors}, sender="system")
    (outcome,) = worker.run(worker.commit(command))
    return result_of(outcome)


def keys(result: dict[str, Any]) -> list[str]:
    return [memory["key"] for memory in result["memories"]]


def test_meaning_finds_what_words_do_not(meaning):
    meaning.store(note("car", "the automobile is red"), note("cat", "a kitten sleeps"), note("sky", "clouds pass"))
    assert embed(meaning) == {"kept": 3, "stale": 0}
    assert keys(meaning.ask("query_memories", text="vehicle")) == []
    found = meaning.ask("query_memories", meaning="vehicle", limit=1)
    assert keys(found) == ["car"]
    assert found["memories"][0]["rank"] == pytest.approx(1 / 61)
    assert found["memories"][0]["highlight"] is None
    assert found["next"] is not None


def test_words_and_meaning_together_put_first_what_both_find(meaning):
    meaning.store(note("words", "red paint red paint"), note("sense", "an automobile"), note("both", "a red car"))
    embed(meaning)
    found = meaning.ask("query_memories", text="red", meaning="vehicle a")["memories"]
    assert found[0]["key"] == "both"
    assert sorted(memory["key"] for memory in found) == ["both", "sense", "words"]
    assert found[0]["rank"] > found[1]["rank"] >= found[2]["rank"]
    assert "<mark>red</mark>" in found[0]["highlight"]


def test_a_search_works_while_some_vectors_are_missing(meaning):
    meaning.store(note("made", "an automobile"), note("missing", "a red automobile"))
    embed(meaning, ("s1", "made", 1))
    assert keys(meaning.ask("query_memories", meaning="vehicle")) == ["made"]
    assert sorted(keys(meaning.ask("query_memories", meaning="vehicle", text="red"))) == ["made", "missing"]


def test_filters_and_moments_hold_for_meaning(meaning):
    (first, *_) = meaning.store(
        note("a", "a car", tags=("t",)), note("b", "a car", session="s2", tags=("t",)), note("c", "a car", type="risk")
    )
    embed(meaning)
    assert keys(meaning.ask("query_memories", meaning="car", session_id="s2")) == ["b"]
    assert keys(meaning.ask("query_memories", meaning="car", type="risk")) == ["c"]
    assert sorted(keys(meaning.ask("query_memories", meaning="car", tags=["t"]))) == ["a", "b"]
    assert keys(meaning.ask("query_memories", meaning="car", session_id="s1", tags=["t"])) == ["a"]
    assert keys(meaning.ask("query_memories", meaning="car", as_of=first["updated"])) == ["a"]


def test_pages_by_meaning_meet_without_gap_or_repetition(meaning):
    meaning.store(*(note(f"k{n}", f"car number{n} {'red' if n % 2 else ''}") for n in range(12)))
    embed(meaning)
    found, cursor = [], None
    while True:
        more = {"cursor": cursor} if cursor else {}
        page = meaning.ask("query_memories", meaning="vehicle", text="red", limit=5, **more)
        found += keys(page)
        if (cursor := page["next"]) is None:
            break
    assert len(found) == 12
    assert sorted(found) == sorted(f"k{n}" for n in range(12))


def test_a_vector_of_a_version_no_longer_in_force_is_dropped(meaning):
    meaning.store(note("k", "old"))
    vector = {"session_id": "s1", "key": "k", "version": 1, "vector": vector_of("old")}
    meaning.store(note("k", "new"))
    assert keep(meaning, [vector]) == {"kept": 0, "stale": 1}
    assert look(meaning).missing == [("s1", "k", 2)]
    assert embed(meaning) == {"kept": 1, "stale": 0}
    assert look(meaning).missing == []


def test_a_new_version_is_not_found_by_the_meaning_of_the_old(meaning):
    meaning.store(note("k", "a car"))
    embed(meaning)
    meaning.store(note("k", "a cat"))
    assert keys(meaning.ask("query_memories", meaning="car")) == []


def test_forgetting_takes_the_vector_too(meaning):
    meaning.store(note("k", "a car"))
    vector = {"session_id": "s1", "key": "k", "version": 1, "vector": vector_of("a car")}
    keep(meaning, [vector])
    meaning.run(meaning.commit(meaning.command("forget_memory", {"session_id": "s1", "key": "k"})))
    assert meaning.sql("select count(*) as n from memory_embeddings")[0].n == 0
    assert keep(meaning, [vector]) == {"kept": 0, "stale": 1}
    assert look(meaning).missing == []
    assert keys(meaning.ask("query_memories", meaning="car")) == []


def test_vectors_of_another_length_are_dropped_and_those_of_another_model_made_anew(meaning):
    meaning.store(note("k", "a car"))
    assert embed(meaning, length=DIMENSIONS + 1) == {"kept": 0, "stale": 1}
    embed(meaning)
    assert look(meaning, model="other").missing == [("s1", "k", 1)]
    embed(meaning, model="other")
    assert keys(meaning.ask("query_memories", meaning="car")) == []


def test_another_dimension_makes_the_table_anew(meaning):
    meaning.store(note("k", "a car"))
    embed(meaning)
    prepare(meaning)
    assert look(meaning).missing == []
    prepare(meaning, DIMENSIONS // 2)
    assert look(meaning).missing == [("s1", "k", 1)]
    assert embed(meaning, length=DIMENSIONS // 2) == {"kept": 1, "stale": 0}


def test_no_migration_looks_at_the_vectors(meaning):
    done = subprocess.run(
        [sys.executable, "-m", "alembic", "check"], cwd=ROOT, env={**os.environ, "DATABASE_URL": meaning.url},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "No new upgrade operations" in done.stdout + done.stderr


def test_more_dimensions_than_can_be_indexed_are_refused_with_what_to_set(worker):
    with pytest.raises(store.NoVectors, match="SWITCHYARD_EMBEDDINGS_DIMENSIONS"):
        prepare(worker, 3072)


def test_memories_are_looked_at_in_order_page_by_page(meaning, monkeypatch):
    monkeypatch.setattr(store, "PAGE", 3)
    meaning.store(*(note(f"k{n}", n) for n in range(7)))
    seen, after = [], None
    while (page := look(meaning, after)).next is not None:
        seen += page.missing
        after = page.next
    assert [key for _, key, _ in seen] == [f"k{n}" for n in range(7)]
    # Somebody may still commit an older one.
    assert page.settled is None
    meaning.sql("update memories set updated = updated - interval '2 minutes'")
    assert look(meaning).settled is not None


class AtOnce:
    """A publisher whose commands are done when they are published."""

    def __init__(self, worker: MemoryWorker) -> None:
        self._worker = worker

    async def wait_connected(self) -> None:
        pass

    async def publish(self, exchange: str, routing_key: str, body: bytes, **more: Any) -> None:
        await self._worker.commit(decode_command(body))


def test_what_has_arrived_makes_room_for_the_next(meaning, server, monkeypatch):
    monkeypatch.setattr(making, "MOST_ON_THEIR_WAY", 1)
    monkeypatch.setattr(making, "TEXTS_AT_ONCE", 2)
    meaning.store(*(note(f"k{n}", n) for n in range(7)))
    embedder = Embedder(Embeddings(server.url, model="words", dimensions=DIMENSIONS))
    context: Any = SimpleNamespace(database=meaning.database, publisher=AtOnce(meaning))

    async def work() -> None:
        assert [await embedder._work(context) for _ in range(5)] == [True] * 4 + [False]
        await embedder.embeddings.close()

    meaning.run(work())
    assert look(meaning).missing == []


@pytest.mark.parametrize("blank", [" ", "\t\n"])
def test_a_blank_meaning_is_invalid(meaning, blank):
    error = meaning.ask("query_memories", meaning=blank)
    assert (error["code"], error["message"][:19]) == ("invalid", "`meaning` is blank;")


@pytest.mark.parametrize(("behaviour", "why"), [(500, "answered 500"), ("nan", "something else"), ("short", "0 emb")])
def test_an_endpoint_that_fails_makes_meaning_unavailable_and_text_goes_on(meaning, server, behaviour, why):
    meaning.store(note("k", "a car"))
    server.behaviour = behaviour
    error = meaning.ask("query_memories", meaning="car")
    assert (error["code"], error["details"]) == ("unavailable", {"reason": "endpoint"})
    assert why in error["message"]
    # The endpoint's own words, which may quote our key, are for the log.
    assert "something went wrong" not in error["message"]
    assert keys(meaning.ask("query_memories", text="car")) == ["k"]


def test_a_slow_endpoint_keeps_only_so_many_searches_waiting(meaning, server, monkeypatch):
    monkeypatch.setattr(module, "SEARCH_TIMEOUT_SECONDS", 0.3)
    server.behaviour = "slow"

    async def ask(**query: Any) -> str:
        async with meaning.database.reading() as tx:
            try:
                await meaning.queries["query_memories"](tx, meaning.command("query_memories", query))
            except Rejected as refusal:
                return str(refusal.details["reason"])
        return "answered"

    async def crowd() -> list[str]:
        searches = [ask(meaning="car") for _ in range(module.ASKING_AT_ONCE + 1)]
        return await asyncio.gather(*searches, ask(text="car"))

    assert sorted(meaning.run(crowd())) == ["answered", "busy", *["endpoint"] * module.ASKING_AT_ONCE]


def test_without_an_endpoint_the_error_says_what_to_set(worker):
    error = worker.ask("query_memories", meaning="car")
    assert (error["code"], error["details"]) == ("unavailable", {"reason": "not_configured"})
    assert "SWITCHYARD_EMBEDDINGS_URL" in error["message"]


def test_while_there_is_no_place_for_vectors_the_error_says_why(worker, server):
    embedder = Embedder(Embeddings(server.url, model="words"))
    embedder.fault = "this PostgreSQL has no pgvector; install it"
    worker.queries = queries(embedder)
    error = worker.ask("query_memories", meaning="car")
    assert (error["code"], error["details"]) == ("unavailable", {"reason": "not_ready"})
    assert "this PostgreSQL has no pgvector" in error["message"]
    assert server.asked == []
