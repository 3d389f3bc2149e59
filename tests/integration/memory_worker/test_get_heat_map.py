"""get_heat_map on a real database."""

from typing import Any


def note(key: str, *tags: str, session: str = "s1") -> dict[str, Any]:
    return {"session_id": session, "type": "fact", "key": key, "content": key, "tags": list(tags)}


def test_every_version_of_the_time_counts_and_forgotten_ones_do_not(worker):
    worker.store(note("a", "auth"), note("a", "auth"), note("b", "logs", session="s2"), note("gone", "secret"))
    worker.store(note("old", "ancient"))
    worker.sql("update memories set updated = updated - interval '25 hours' where key = 'old'")
    worker.run(worker.commit(worker.command("forget_memory", {"session_id": "s1", "key": "gone"})))
    map = worker.ask("get_heat_map")["heat_map"]
    assert (map["updates"], map["agent_id"]) == (3, "ada")
    assert {zone["topic"]: zone["updates"] for zone in map["hot_zones"]} == {"fact": 3, "auth": 2, "a": 2, "logs": 1}
    within = worker.ask("get_heat_map", session_id="s2", agent_id="eve", hours=1)["heat_map"]
    assert (within["updates"], within["agent_id"], within["your_focus_areas"]) == (1, "eve", [])
    looking = worker.ask("get_heat_map", session_id="s2", agent_id="eve", focus=["logs"])["heat_map"]
    assert [zone["topic"] for zone in looking["your_focus_areas"]] == ["logs"]


def test_nothing_in_a_session_nobody_knows(worker):
    assert worker.ask("get_heat_map", session_id="nowhere")["heat_map"]["updates"] == 0
