"""agent_report and lose_silent_runs: what becomes of runs."""

from services.task_worker.handlers.controls import LAST_LINES, topic_of
from services.task_worker.runs import rules
from services.task_worker.store import controls, output
from services.task_worker.store import runs as store
from shared.bus.commit import OPEN
from shared.bus.handled import lock_sessions
from shared.bus.parking import Wake
from shared.bus.replies import Reply, SessionMissing
from shared.database import Transaction
from shared.errors import conflict, not_found
from shared.messages import Command, Event
from shared.messages.runs import AgentReport, Run
from shared.messages.runs_events import AgentControlAnswered

# What one run of the timer takes up at most, so that its transaction stays short; the rest is for the next.
AT_ONCE = 500


async def agent_report(tx: Transaction, command: Command) -> Reply:
    """Keep what a runner reports of a run. Raises `Rejected`: `not_found`, `conflict`, `invalid`; `SessionMissing`."""
    data: AgentReport = command.data
    locked = await store.lock_run(tx, data.run_id)
    if locked is None:
        return await _begin(tx, command)
    run, at = locked
    is_back = run.state == "lost"
    reported = rules.report(
        run,
        data,
        command.sender_agent_id,
        at,
        before_loss=await store.last_state_was(tx, run.run_id) if is_back else None,
        task=await store.find_task(tx, run.task_id) if is_back and run.task_id else None,
    )
    events = [*rules.activities(reported.run, data.activities), *reported.events]
    wakes = []
    if data.control_id is not None:
        answered = await _answer(tx, reported.run, data)
        events += answered
        wakes = [Wake(topic_of(data.control_id), frozenset())] if answered else []
    await store.save_run(tx, reported.run)
    if reported.transition is not None:
        await store.add_state(tx, run.run_id, reported.transition)
    if reported.run.state in rules.ENDS:
        await store.end_extraction(tx, run.run_id)
    return Reply({"run": reported.run}, events, wakes=wakes)


async def _begin(tx: Transaction, command: Command) -> Reply:
    data: AgentReport = command.data
    now = await controls.now(tx)
    reported = rules.begin(data, command.sender_agent_id, now)
    activities = rules.activities(reported.run, data.activities)
    status = await store.session_status(tx, reported.run.session_id)
    if status is None:
        raise SessionMissing(not_found("session", reported.run.session_id))
    if status not in OPEN:
        raise conflict(f"session {reported.run.session_id!r} is {status}; no run can begin in it", status=status)
    await store.create_run(tx, reported.run)
    if reported.transition is not None:
        await store.add_state(tx, reported.run.run_id, reported.transition)
    return Reply({"run": reported.run}, [*reported.events, *activities])


async def _answer(tx: Transaction, run: Run, data: AgentReport) -> list[Event]:
    """Keep a runner's answer to a control request, unless there is one already."""
    assert data.control_id is not None
    asked = await controls.find_control(tx, data.control_id)
    if asked is None or asked.run_id != run.run_id:
        raise not_found("control", data.control_id)
    if asked.answered is not None:
        return []
    result, error = rules.masked_answer(data)
    if rules.tells_lines(result):
        result = rules.with_lines(result, await output.last_lines(tx, run.run_id, LAST_LINES))
    answered = await controls.answer(tx, data.control_id, result, error)
    return [AgentControlAnswered(**rules.about(run), control=answered)]


async def lose_silent_runs(tx: Transaction, command: Command) -> Reply:
    """Note down as lost the runs whose runners are silent, those first that have been so longest."""
    found = await store.find_silent(tx, AT_ONCE)
    if not found:
        return Reply({"lost": 0})
    await lock_sessions(tx, sorted({session_id for _, session_id in found}))
    events: list[Event] = []
    lost = await store.lock_silent(tx, [run_id for run_id, _ in found])
    for run, at in lost:
        reported = rules.lose(run, at)
        await store.save_run(tx, reported.run)
        assert reported.transition is not None
        await store.add_state(tx, run.run_id, reported.transition)
        events += reported.events
    await store.end_extractions_later(tx, [run.run_id for run, _ in lost])
    return Reply({"lost": len(events)}, events)
