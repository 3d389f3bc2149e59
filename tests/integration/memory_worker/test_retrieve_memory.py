"""retrieve_memory on a real database."""

from typing import Any

import pytest


@pytest.fixture
def versions(worker) -> list[dict[str, Any]]:
    """Three versions of one memory."""
    return [worker.store({"session_id": "s1", "type": "fact", "key": "k", "content": n})[0] for n in (1, 2, 3)]


def test_a_memory_is_retrieved_in_the_version_in_force(worker, versions):
    assert worker.ask("retrieve_memory", session_id="s1", key="k")["memory"] == versions[-1]


def test_each_version_is_retrieved_as_of_the_moment_it_was_made(worker, versions):
    for version in versions:
        assert worker.ask("retrieve_memory", session_id="s1", key="k", as_of=version["updated"])["memory"] == version
    later = worker.ask("retrieve_memory", session_id="s1", key="k", as_of="2999-01-01T01:00:00.123456789+01:00")
    assert later["memory"] == versions[-1]


def test_the_error_tells_an_unknown_session_from_an_unknown_key(worker, versions):
    unknown = worker.ask("retrieve_memory", session_id="nowhere", key="k")
    assert (unknown["code"], unknown["message"]) == ("not_found", "session 'nowhere' does not exist")
    unknown = worker.ask("retrieve_memory", session_id="s1", key="nothing")
    assert (unknown["code"], unknown["message"]) == ("not_found", "session 's1' has no memory 'nothing'")
    unknown = worker.ask("retrieve_memory", session_id="s1", key="k", as_of="2001-01-01T00:00:00Z")
    assert unknown["code"] == "not_found"
    assert unknown["message"] == "session 's1' has no memory 'k' at 2001-01-01T00:00:00.000000Z"


@pytest.mark.parametrize("moment", ["2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01T00:00:00+99:00"])
def test_an_impossible_moment_is_invalid(worker, moment):
    assert worker.ask("retrieve_memory", session_id="s1", key="k", as_of=moment)["code"] == "invalid"
    assert worker.ask("query_memories", as_of=moment)["code"] == "invalid"
