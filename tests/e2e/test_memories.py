"""Memories through the public doors: what changed, what was forgotten, what is only sent back."""

from tests.e2e.conftest import Doors


def note(doors: Doors, session_id: str, content: object, **more: object) -> dict:
    return doors.command("store_memory", session_id=session_id, type="fact", content=content, **more)


def test_rapid_updates_come_as_one_event_that_says_what_changed(doors: Doors) -> None:
    session_id = doors.session()
    plan = {"goal": "move the queue to PostgreSQL, " * 5, "steps": ["measure", "build"]}
    with doors.listen(f"memory.{session_id}.#") as listener:
        for steps in (["measure"], ["measure", "build"], ["measure", "build", "move"]):
            note(doors, session_id, {**plan, "steps": steps}, key="plan")
        events = [listener.next()]
        while sum(event["count"] for event in events) < 3:
            events.append(listener.next())
    assert (events[0]["count"], events[0]["delta"], events[0]["delta_omitted"]) == (1, None, "first")
    last = events[-1]
    assert (last["exchange"]["version"], last["exchange"]["content"]["steps"][-1]) == (3, "move")
    assert {change["op"] for change in last["delta"]} == {"add"}
    assert all(change["path"].startswith("/steps/") for change in last["delta"])


def test_a_forgotten_memory_is_a_fact_without_content(doors: Doors) -> None:
    session_id = doors.session()
    note(doors, session_id, "the customer is called Quibblethorpe", key="customer")
    with doors.listen(f"memory.{session_id}.forgotten") as listener:
        forgotten = doors.command("forget_memory", session_id=session_id, key="customer", reason="a name")["memory"]
        event = listener.next()
    assert event["memory"] == forgotten
    assert (forgotten["content"], forgotten["forgotten"]["reason"]) == (None, "a name")
    gone = doors.http.post("/api/commands/retrieve_memory", json={"session_id": session_id, "key": "customer"})
    assert gone.status_code == 404
    assert "was forgotten" in gone.json()["detail"]
    history = doors.command("memory_history", session_id=session_id, key="customer")["versions"]
    assert [version["forgotten"]["reason"] for version in history] == ["a name"]
    assert doors.command("query_memories", session_id=session_id, text="Quibblethorpe")["memories"] == []
    assert note(doors, session_id, "none", key="customer")["memory"]["version"] == 2


def test_a_recalled_memory_that_is_sent_back_is_not_stored_again(doors: Doors) -> None:
    session_id = doors.session()
    stored = note(doors, session_id, "Gin indexes like short lists", key="gin")["memory"]
    again = note(doors, session_id, "> gin indexes  like SHORT lists")
    assert again == {"memory": stored, "recalled": True}
    assert len(doors.command("query_memories", session_id=session_id)["memories"]) == 1


def test_without_an_endpoint_meaning_says_what_to_set(doors: Doors) -> None:
    answer = doors.http.post("/api/commands/query_memories", json={"meaning": "vehicles"})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "SWITCHYARD_EMBEDDINGS_URL" in answer.json()["detail"]


def test_the_heat_map_speaks(doors: Doors) -> None:
    session_id = doors.session()
    note(doors, session_id, 1, key="k", tags=["auth"])
    map = doors.command("get_heat_map", session_id=session_id, agent_id="nobody")["heat_map"]
    assert {zone["topic"] for zone in map["hot_zones"]} == {"auth", "fact"}
    assert map["suggestion"].startswith("Most happens around 'auth' (1 update in 24 hours).")
