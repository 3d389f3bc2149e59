"""Two task workers as processes, between RabbitMQ and PostgreSQL: control of runs, silence, a kill, a stop."""

import asyncio
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared.messages import new_id
from tests.integration.task_worker.replicas import Ask, Replicas
from tests.integration.task_worker.runs_kit import line
from tests.waiting import eventually_async

REPLICAS = 2


@pytest.fixture(scope="module")
def replicas(module_database_url: str, amqp_url: str) -> Iterator[Replicas]:
    replicas = Replicas(amqp_url, module_database_url)
    replicas.sql("insert into sessions (id) values ('s1')")
    try:
        for _ in range(REPLICAS):
            replicas.start()
        yield replicas
    finally:
        for process in replicas.processes:
            process.kill()
            process.wait()


async def begun(ask: Ask, agent_name: str = "codex", **data: Any) -> str:
    run_id = new_id()
    await ask(
        "agent_report", run_id=run_id, agent_name=agent_name, session_id="s1", **{"state": "running", "pid": 7, **data}
    )
    return run_id


async def answered(ask: Ask, replicas: Replicas, run_id: str, **answer: Any) -> None:
    """Answer, as a runner does, what is asked of a run next."""

    async def asked() -> Any:
        rows = replicas.sql(f"select control_id from agent_controls where run_id = '{run_id}' and answered is null")
        return rows[0][0] if rows else None

    control_id = await eventually_async(asked)
    await ask("agent_report", by="runner", run_id=run_id, control_id=control_id, **answer)


def test_a_control_request_waits_for_the_runners_answer_at_whichever_replica(replicas):
    async def talk(ask: Ask) -> list[Any]:
        run_id = await begun(ask)
        got = []
        for _ in range(6):
            began = time.monotonic()
            control, _ = await asyncio.gather(
                ask("control_agent", run_id=run_id, action="send_input", input="yes\n", wait_s=20),
                answered(ask, replicas, run_id, control_result={"bytes": 4}),
            )
            got.append((control["control"]["status"], control["control"]["result"], time.monotonic() - began < 10))
        return got

    assert replicas.run(talk) == [("done", {"bytes": 4}, True)] * 6


def test_a_request_in_vain_says_so(replicas):
    async def talk(ask: Ask) -> tuple[Any, ...]:
        run_id = await begun(ask, "mute", cause="began")
        with pytest.raises(AssertionError, match="'timeout'"):
            await ask("control_agent", agent_name="mute", action="pause", wait_s=0.2)
        # The runner was asked all the same, and may still answer.
        await answered(ask, replicas, run_id, control_result={}, state="paused")
        refused = asyncio.ensure_future(ask("control_agent", run_id=run_id, action="resume", wait_s=20))
        await answered(ask, replicas, run_id, control_error="it is gone")
        with pytest.raises(AssertionError, match="did not resume: it is gone"):
            await refused
        told = (await ask("control_agent", run_id=run_id, action="get_state", wait_s=0.2))["control"]
        await ask("agent_report", run_id=run_id, state="killed", signal="SIGKILL")
        gone = (await ask("control_agent", run_id=run_id, action="get_state", wait_s=20))["control"]
        with pytest.raises(AssertionError, match="is killed"):
            await ask("control_agent", run_id=run_id, action="kill")
        with pytest.raises(AssertionError, match="has no live run"):
            await ask("control_agent", agent_name="mute", action="kill")
        run = (await ask("get_run", run_id=run_id))["run"]
        return told, gone, run

    told, gone, run = replicas.run(talk)
    assert (told["status"], told["result"]["source"], told["result"]["state"]) == ("told", "store", "paused")
    assert (gone["status"], gone["result"]["state"]) == ("told", "killed")
    assert [control["status"] for control in run["controls"]] == ["asked", "refused", "done"]
    assert [each["state"] for each in run["transitions"]] == ["running", "paused", "killed"]


def test_which_of_several_runs_is_meant_has_to_be_said(replicas):
    async def talk(ask: Ask) -> None:
        for _ in range(2):
            await begun(ask, "twins")
        with pytest.raises(AssertionError, match="has 2 live runs"):
            await ask("control_agent", agent_name="twins", action="pause")
        with pytest.raises(AssertionError, match="`run_id`"):
            await ask("control_agent", action="pause")
        with pytest.raises(AssertionError, match="send_input needs"):
            await ask("control_agent", agent_name="twins", action="send_input")

    replicas.run(talk)


def test_a_silent_run_is_lost_by_itself(replicas):
    async def talk(ask: Ask) -> Any:
        run_id = await begun(ask)
        replicas.sql(f"update agent_runs set heard = now() - interval '31 seconds' where run_id = '{run_id}'")

        async def lost() -> Any:
            run = (await ask("get_run", run_id=run_id))["run"]
            return run if run["state"] == "lost" else None

        return await eventually_async(lost)

    assert replicas.run(talk)["transitions"][-1]["by"] == "system"


def test_no_line_is_lost_or_doubled_when_a_worker_is_killed_in_between(replicas):
    many = [f"{number} Error: it broke" if number % 50 == 0 else f"{number}" for number in range(1, 1501)]

    async def talk(ask: Ask) -> tuple[str, int]:
        run_id = await begun(ask, "steady")
        next_line, victim = 1, 0
        while next_line <= len(many):
            lines = [line(text) for text in many[next_line - 1 : next_line + 49]]
            sent = ask("agent_output", run_id=run_id, first_line=next_line, lines=lines)
            if not victim and next_line > 500:
                victim = replicas.processes[0].pid
                replicas.processes[0].kill()
                replicas.start()
            next_line = (await sent)["output"]["next_line"]
        await ask("agent_report", run_id=run_id, state="completed", lines_given=len(many))

        async def looked_through() -> bool:
            return not replicas.sql("select from extraction_states where since <= now() + interval '1 minute'")

        await eventually_async(looked_through, 60)
        found = await ask("query_extractions", run_id=run_id, type="error", limit=500)
        return run_id, len({each["first_line"] for each in found["extractions"]}) * 1000 + len(found["extractions"])

    run_id, found = replicas.run(talk)
    kept = replicas.sql(f"select number, text from agent_output where run_id = '{run_id}' order by number")
    assert kept == list(enumerate(many, 1))
    assert found == 30 * 1000 + 30


def test_a_worker_that_stops_looks_through_what_is_left(replicas):
    for other in replicas.processes:
        other.kill()
        other.wait()
    replicas.start()
    steady = replicas.processes[-1]
    batches, sent = 40, []

    async def stop_in_between(ask: Ask) -> str:
        run_id = await begun(ask, "last")
        for at in range(batches):
            lines = [line("Error: one"), line(f"{at}")]
            sent.append(asyncio.ensure_future(ask("agent_output", run_id=run_id, first_line=2 * at + 1, lines=lines)))
            if at == batches // 2:
                await sent[0]
                steady.send_signal(signal.SIGTERM)
        await asyncio.to_thread(steady.wait, 20)
        for each in sent:
            each.cancel()
        await asyncio.gather(*sent, return_exceptions=True)
        return run_id

    run_id = replicas.run(stop_in_between)
    assert steady.returncode == 0
    ((kept,),) = replicas.sql(f"select lines from agent_runs where run_id = '{run_id}'")
    assert kept >= 2
    assert replicas.sql(f"select extracted from extraction_states where run_id = '{run_id}'") == [(kept,)]
    found = replicas.sql(f"select first_line from extractions where run_id = '{run_id}' and type = 'error'")
    assert len(found) == kept // 2
