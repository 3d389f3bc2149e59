"""How ready agents are, what they have to do, and what they may say of themselves."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.ws_gateway.agents.participation import RETRY_SECONDS, Participation
from services.ws_gateway.agents.presence import Presence
from services.ws_gateway.agents.readiness import REMEMBERED_TASKS, RunningTasks, readiness
from services.ws_gateway.door.access import Identity
from services.ws_gateway.stream.frames import Frame, event_frame
from shared.errors import Rejected, Unavailable
from tests.unit.ws_gateway.house import House
from tests.waiting import eventually_async


def event(kind: str, **fields: Any) -> Frame:
    return event_frame(1, "a.b", json.dumps({"type": kind, **fields}).encode())


def test_readiness_follows_its_formula() -> None:
    assert readiness("online", specialties=["go"]) == 100
    assert readiness("online") == 90
    assert readiness("working", load=4, specialties=["go"]) == 30
    assert readiness("idle", health=50, specialties=["go"]) == 40
    assert readiness("online", specialties=["Go", "c"], wanted=["go", "rust"]) == 50
    assert readiness("offline", specialties=["go"]) == readiness("asleep") == 0


@given(
    st.sampled_from(["online", "working", "idle", "offline"]), st.integers(-5, 10**6), st.integers(-50, 500),
    st.lists(st.text()), st.lists(st.text()),
)  # fmt: skip
def test_readiness_is_a_percentage_that_load_never_raises(
    status: str, load: int, health: int, specialties: list[str], wanted: list[str]
) -> None:
    ready = readiness(status, load=load, health=health, specialties=specialties, wanted=wanted)
    assert 0 <= ready <= 100
    assert readiness(status, load=load + 1, health=health, specialties=specialties, wanted=wanted) <= ready


def test_a_running_task_is_its_claimers_and_the_named_agents() -> None:
    tasks = RunningTasks()
    task = {"task_id": "t1", "agent_name": "coder", "claimed_by": "worker-1"}
    tasks.look(event("task_claimed", task=task))
    tasks.look(event("task_started", task=task))
    assert (tasks.of("coder"), tasks.of("worker-1"), tasks.of("ana")) == (1, 1, 0)
    tasks.look(event("task_completed", task=task))
    tasks.look(event("task_completed", task=task))
    tasks.look(event("task_completed", nothing=1))
    assert (tasks.of("coder"), tasks.of("worker-1"), len(tasks)) == (0, 0, 0)


def test_of_too_many_running_tasks_the_oldest_are_forgotten() -> None:
    tasks = RunningTasks()
    for number in range(REMEMBERED_TASKS + 3):
        tasks.look(event("task_claimed", task={"task_id": f"t{number}", "agent_name": "coder"}))
    assert tasks.of("coder") == len(tasks) == REMEMBERED_TASKS


@pytest.mark.anyio
async def test_an_agent_speaks_for_itself_within_limits_and_observers_do_not() -> None:
    house = House()
    ana = house.come("ana")
    house.gateway.presence.seated(ana.client.id, ana.client.identity)  # type: ignore[arg-type]
    assert ana.error("agent_presence", agent_id="bob", status="idle") == "forbidden"
    assert ana.error("agent_presence", status="offline") == "invalid"
    assert ana.error("agent_presence", current_context="x" * 501) == "invalid"
    assert ana.error("agent_presence", active_sidebars=["s"] * 101) == "invalid"
    assert ana.error("agent_presence", active_sidebars=["s" * 256]) == "invalid"
    assert ana.error("agent_presence", specialties=[""]) == "invalid"
    assert ana.say("agent_presence", agent_id="ana", status="working", specialties=["go"]) == []
    (row,) = house.gateway.presence.agents()
    assert (row["status"], row["specialties"]) == ("working", ["go"])
    assert house.come("ana", permission="observer").error("agent_presence", status="idle") == "forbidden"
    assert house.come("bob", scopes=["read"]).error("agent_presence", status="idle") == "forbidden"


class Workers:
    """Answers where agents take part."""

    def __init__(self, **sidebars: list[str]) -> None:
        self.sidebars = sidebars
        self.faults: list[Exception] = []
        self.asked: list[list[str]] = []
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def query(self, name: str, data: dict[str, Any]) -> bytes:
        assert name == "get_agent_contexts"
        self.asked.append(data["agent_ids"])
        await self.may_answer.wait()
        if self.faults:
            raise self.faults.pop()
        contexts = [
            {"agent_id": agent_id, "sessions": [], "sidebars": self.sidebars.get(agent_id, [])}
            for agent_id in data["agent_ids"]
        ]
        return json.dumps({"contexts": contexts}).encode()


class Floor:
    """A presence with its participation, and agents that have connected."""

    def __init__(self, workers: Workers, *agents: str) -> None:
        self.presence = Presence("a", grace_s=1)
        self.participation = Participation(self.presence, workers.query)
        for number, agent_id in enumerate(agents):
            self.presence.seated(f"c{number}", Identity(agent_id, "agent", "active", 10**10))
            self.participation.came(agent_id)

    async def __aenter__(self) -> "Floor":
        self.task = asyncio.ensure_future(self.participation.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def knows(self, agent_id: str, *sidebars: str) -> None:
        async def known() -> bool:
            return self.presence.sidebars_of(agent_id) == sidebars

        await eventually_async(known, RETRY_SECONDS + 3, because=f"{agent_id} is in {sidebars}")


def sidebar(sidebar_id: str, status: str, *participants: str) -> Frame:
    about = {"sidebar_id": sidebar_id, "participants": participants, "status": status}
    return event("sidebar_status_update", sidebar=about)


@pytest.mark.anyio
async def test_the_sidebars_of_who_connects_are_asked_for_together_and_followed() -> None:
    workers = Workers(ana=["s1", "s2"])
    async with Floor(workers, "ana", "bob") as floor:
        await floor.knows("ana", "s1", "s2")
        floor.participation.look(sidebar("s3", "active", "ana", "bob", "who-is-not-here"))
        floor.participation.look(sidebar("s1", "merged", "ana"))
        floor.participation.look(sidebar("s3", "testing", "ana", "bob"))
        floor.participation.look(event("sidebar_spawn", sidebar="none"))
        await floor.knows("ana", "s3", "s2")
        await floor.knows("bob", "s3")
    assert workers.asked == [["ana", "bob"]]


@pytest.mark.anyio
async def test_what_happens_while_the_answer_is_on_its_way_counts_more() -> None:
    workers = Workers(ana=["s1"])
    workers.may_answer.clear()
    async with Floor(workers, "ana") as floor:

        async def asked() -> bool:
            return bool(workers.asked)

        await eventually_async(asked)
        floor.participation.look(sidebar("s1", "archived", "ana"))
        floor.participation.look(sidebar("s2", "active", "ana"))
        workers.may_answer.set()
        await floor.knows("ana", "s2")


@pytest.mark.anyio
async def test_a_worker_that_is_away_is_asked_again_and_one_that_refuses_is_not() -> None:
    workers = Workers(ana=["s1"], bob=["s2"])
    workers.faults = [Unavailable("away")]
    async with Floor(workers, "ana") as floor:
        await floor.knows("ana", "s1")
        assert len(workers.asked) == 2
        workers.faults = [Rejected("invalid", "no")]
        floor.presence.seated("c9", Identity("bob", "agent", "active", 10**10))
        floor.participation.came("bob")

        async def asked() -> bool:
            return len(workers.asked) == 3

        await eventually_async(asked)
        await floor.knows("bob")
