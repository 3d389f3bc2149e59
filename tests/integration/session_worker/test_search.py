"""Search over chunks, memories and artifacts."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import text

from services.session_worker.store import search as store
from tests.integration.session_worker.conftest import SessionWorker


@pytest.fixture(scope="module")
def library(module_worker: SessionWorker) -> Iterator[SessionWorker]:
    """Two sessions that know something of zebras."""
    worker = module_worker
    for session_id in ("one", "two"):
        worker.do("create_session", session_id=session_id)
    commands = [
        ("conversation_chunk", "one", {"chunk_id": "c1", "content": "\n\nA zebra < 2 & a lion.\nMore"}),
        ("conversation_chunk", "two", {"chunk_id": "c2", "content": "A zebra crosses a zebra."}),
        ("store_memory", "one", {"key": "m1", "type": "fact", "content": {"says": ["zebra stripes"]}}),
        ("store_memory", "two", {"key": "m2", "type": "fact", "content": "a lion"}),
        ("add_artifact", "one", {"artifact_id": "a1", "name": "zoo.md", "type": "text", "content": "zebra " * 30_000}),
    ]
    worker.do("batch", commands=[{"command": name, "data": {"session_id": s, **data}} for name, s, data in commands])
    yield worker


def hits(worker: SessionWorker, **asked: Any) -> list[tuple[str, str, str]]:
    return [(hit["kind"], hit["session_id"], hit["id"]) for hit in worker.ask("search", **asked)["hits"]]


def test_every_kind_is_found_and_ranked_together(library: SessionWorker) -> None:
    found = library.ask("search", q="zebra")["hits"]
    ranks = [hit["rank"] for hit in found]
    assert sorted(ranks, reverse=True) == ranks
    assert {(hit["kind"], hit["id"]) for hit in found} == {
        ("chunk", "c1"), ("chunk", "c2"), ("memory", "m1"), ("artifact", "a1"),
    }  # fmt: skip
    assert found[0]["id"] == "a1"


def test_a_hit_says_what_it_is_and_shows_the_words_as_safe_html(library: SessionWorker) -> None:
    found = {hit["id"]: hit for hit in library.ask("search", q="zebra")["hits"]}
    assert found["c1"]["title"] == "A zebra < 2 & a lion."
    assert found["c1"]["highlight"].strip() == "A <mark>zebra</mark> &lt; 2 &amp; a lion.\nMore"
    assert (found["m1"]["title"], found["m1"]["highlight"]) == ("m1", "<mark>zebra</mark> stripes")
    assert found["a1"]["title"] == "zoo.md"
    assert found["a1"]["created"].endswith("Z")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"q": "zebra", "session_id": "two"}, {"c2"}),
        ({"q": "zebra", "kinds": ["memory"]}, {"m1"}),
        ({"q": "zebra", "kinds": ["artifact", "memory"], "session_id": "one"}, {"a1", "m1"}),
        ({"q": "zebra -lion"}, {"c2", "m1", "a1"}),
        ({"q": '"zebra crosses"'}, {"c2"}),
        ({"q": "lion or stripes"}, {"c1", "m1", "m2"}),
        ({"q": "zebra", "session_id": "nobody"}, set()),
        ({"q": "unicorn"}, set()),
        ({"q": "the"}, set()),
        ({"q": "'; drop table sessions; --"}, set()),
        ({"q": "zebra & ( <-> :*"}, {"c1", "c2", "m1", "a1"}),
    ],
)
def test_words_sessions_and_kinds_narrow_a_search(
    library: SessionWorker, asked: dict[str, Any], expected: set[str]
) -> None:
    assert {identifier for _, _, identifier in hits(library, **asked)} == expected


def test_words_only_to_leave_out_are_refused(library: SessionWorker) -> None:
    error = library.ask("search", q="-zebra")
    assert (error["code"], error["details"]) == ("invalid", {"q": "-zebra"})


def test_pages_hold_every_hit_once(library: SessionWorker) -> None:
    pages = library.all_pages("search", "hits", q="zebra", limit=1)
    assert pages == library.ask("search", q="zebra")["hits"]


def test_a_cursor_of_another_list_is_refused(library: SessionWorker) -> None:
    assert library.ask("search", q="zebra", cursor="WzFd")["code"] == "invalid"


def test_each_kind_is_found_by_its_words_in_one_scan(library: SessionWorker) -> None:
    async def explained(tx: Any) -> None:
        # Few rows would be read whole.
        await tx._tx.execute(text("set local enable_seqscan = off"))
        await store.search(tx, "zebra", ["chunk", "memory", "artifact"], None, None, 10)

    plan = library.plan(explained)
    for table in ("conversation_chunks", "memories", "artifacts"):
        assert f"Bitmap Index Scan on {table}_search" in plan
    assert plan.count("(never executed)") >= 3
