"""The task queue with everything killed at random: no task is lost, none is in two hands, every task ends."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli.local.ports import free_port
from shared.messages import new_id
from tests.faults.load import Load
from tests.faults.processes import Process
from tests.faults.system import System
from tests.faults.task_history import replay
from tests.waiting import eventually_async

CLAIMERS = 8
DELEGATORS = 4
SECONDS = 25.0
AGENT = "researcher"


class Crew:
    """Claimers and a delegator, over HTTP; each asks again under the same id until it is answered."""

    def __init__(self, system: System, load: Load) -> None:
        self._system = system
        self._load = load
        self.delegated: set[str] = set()
        # By lease: who was given it.
        self.leases: dict[str, str] = {}
        # By task: who was told that it is completed.
        self.completed: dict[str, str] = {}
        self.claimers: dict[str, asyncio.Task[None]] = {}
        self.delegating = True

    async def ask(self, name: str, data: dict[str, Any]) -> httpx.Response:
        """The answer to a command: done or refused."""
        headers = {**self._load.key, "Idempotency-Key": new_id()}
        while True:
            with suppress(httpx.TransportError):
                answer = await self._load.http.post(f"/api/commands/{name}", json=data, headers=headers)
                if answer.status_code not in (202, 503, 504):
                    assert answer.status_code in (200, 201, 409), answer.text
                    return answer
            await asyncio.sleep(0.1)

    async def delegate(self) -> None:
        """Delegate tasks, some of which wait for others."""
        last: list[str] = []
        while self.delegating:
            data = {
                "session_id": self._load.session_id, "agent_name": AGENT, "task_type": "t", "max_attempts": 100,
                "priority": random.randrange(10), "depends_on": last[-1:] if random.random() < 0.2 else [],
            }  # fmt: skip
            task = (await self.ask("delegate_task", data)).json()["task"]
            self.delegated.add(task["task_id"])
            last = [*last[-5:], task["task_id"]]
            await asyncio.sleep(0.02)

    def hire(self) -> None:
        """One more claimer."""
        name = f"w-{new_id()}"
        self.claimers[name] = asyncio.ensure_future(self._claim(name))

    async def kill_claimer(self) -> None:
        """A claimer is gone, whatever it was doing; what it held comes back, as after a minute."""
        name = random.choice(list(self.claimers))
        claimer = self.claimers.pop(name)
        claimer.cancel()
        await asyncio.gather(claimer, return_exceptions=True)
        self.hire()

    async def _claim(self, name: str) -> None:
        while True:
            claim = {"agent_name": AGENT, "worker_id": name, "count": random.randint(1, 4), "wait_s": 0.5}
            for task in (await self.ask("claim_task", claim)).json()["tasks"]:
                assert self.leases.setdefault(task["lease_token"], name) == name
                await self._work(name, task)

    async def _work(self, name: str, task: dict[str, Any]) -> None:
        lease = {"task_id": task["task_id"], "lease_token": task["lease_token"]}
        if random.random() < 0.3 and (await self.ask("start_task", lease)).status_code == 409:
            return
        if random.random() < 0.1:
            await self.ask("fail_task", {**lease, "error_message": "by chance"})
        elif (await self.ask("complete_task", lease)).status_code == 200:
            assert self.completed.setdefault(task["task_id"], name) == name

    async def lapse(self) -> None:
        """Leases of claimers that are gone lapse now, not after a minute."""
        with suppress(Exception):  # the database may be away, which is the point
            await self._system.sql(
                "update tasks set lease_expires = now()"
                " where lease_expires > now() and claimed_by <> all(%s) returning 1",
                list(self.claimers),
            )


async def test_no_task_is_lost_or_in_two_hands_whatever_is_killed(system: System, load: Load, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    random.seed(seed)
    second = Process(
        system, tmp_path, "services.task_worker", SWITCHYARD_WORKERS_PORT=str(free_port(range(4)))
    )  # fmt: skip
    second.start()
    crew = Crew(system, load)
    for _ in range(CLAIMERS):
        crew.hire()
    delegating = asyncio.gather(*(crew.delegate() for _ in range(DELEGATORS)))

    async def kill_worker() -> None:
        if random.random() < 0.5:
            system.stack.process("task_worker").kill()
        else:
            second.kill()
            second.start()

    async def kill_broker() -> None:
        await system.broker.crash()
        await system.broker.start_again()

    kills: list[Callable[[], Awaitable[None]]] = [
        kill_worker, crew.kill_claimer, kill_worker, crew.kill_claimer, system.crash_database, kill_broker, kill_worker,
        crew.kill_claimer,
    ]  # fmt: skip
    random.shuffle(kills)
    try:
        end = asyncio.get_running_loop().time() + SECONDS
        for kill in kills:
            await asyncio.sleep(random.uniform(0.5, 2))
            await kill()
            await crew.lapse()
            if asyncio.get_running_loop().time() > end:
                break
        crew.delegating = False
        await delegating
        assert len(crew.delegated) > 50, f"seed {seed}"

        async def all_have_ended() -> bool:
            for claimer in crew.claimers.values():
                if claimer.done():
                    claimer.result()
            await crew.lapse()
            ((left,),) = await system.sql(
                "select count(*) from tasks where session_id = %s and status in ('pending', 'claimed', 'running')",
                load.session_id,
            )
            return bool(left == 0)

        await eventually_async(all_have_ended, 60, interval=0.3, because=f"every task ending (seed {seed})")
    finally:
        crew.delegating = False
        for task in (delegating, *crew.claimers.values()):
            task.cancel()
        await asyncio.gather(delegating, *crew.claimers.values(), return_exceptions=True)
        second.kill()
    await assert_history(system, load, crew, seed)


async def assert_history(system: System, load: Load, crew: Crew, seed: int) -> None:
    """The events tell a history that can be true, and it is that of the table and of the claimers."""

    async def recorded() -> bool:
        ((counted, events, last),) = await system.sql(
            "select seq, (select count(*) from events where session_id = id), "
            "(select max(session_seq) from events where session_id = id) from sessions where id = %s",
            load.session_id,
        )
        return bool(counted == events == last)

    await eventually_async(recorded, 60, interval=0.3, because=f"every event being recorded (seed {seed})")
    rows = await system.sql(
        "select session_seq, body from events where session_id = %s order by session_seq", load.session_id
    )
    assert [number for number, _ in rows] == list(range(1, len(rows) + 1)), f"seed {seed}"
    told = replay(body for _, body in rows if body["type"].startswith("task_"))
    assert crew.delegated <= set(told), f"seed {seed}"
    statuses = dict(await system.sql("select id, status from tasks where session_id = %s", load.session_id))
    assert {task_id: each.status for task_id, each in told.items()} == statuses
    assert set(statuses.values()) <= {"completed", "failed", "dead"}
    assert crew.completed.items() <= {task_id: each.completed_by for task_id, each in told.items()}.items()


# The checker itself

pytestmark = [pytest.mark.anyio]


def event(kind: str, **task: Any) -> dict[str, Any]:
    return {"type": f"task_{kind}", "task": {"task_id": "t", "attempt": 1, "claimed_by": "a", **task}}


@pytest.mark.parametrize(
    ("history", "complaint"),
    [
        ([event("claimed")], "never created"),
        ([event("created"), event("created")], "created before"),
        ([event("created"), event("claimed"), event("claimed", attempt=2, claimed_by="b")], "a holds it"),
        ([event("created"), event("claimed", attempt=2)], "attempt 2 after 0"),
        ([event("created"), event("claimed"), event("completed", claimed_by="b")], "a held it"),
        ([event("created"), event("completed")], "nobody held it"),
        ([event("created"), event("claimed"), event("completed"), event("dead")], "it had ended"),
        ([event("created"), event("requeued")], "it is pending"),
    ],
)
def test_a_history_that_can_t_be_is_noticed(history: list[dict[str, Any]], complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        replay(history)
