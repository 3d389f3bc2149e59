"""Runs of agents: which state may follow which, and what a report makes of a run; pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeGuard

import msgspec

from services.task_worker.extraction import mask
from shared.errors import Rejected, conflict, invalid, not_found
from shared.messages import Event, JsonText, encode, rfc3339
from shared.messages.envelope import now
from shared.messages.json_text import slices
from shared.messages.runs import AgentReport, Run, RunState, StoredLine, Usage
from shared.messages.runs_events import AgentActivity, AgentRunChanged, AgentRunEnded, AgentRunStarted
from shared.messages.runs_reading import RunTransition
from shared.messages.task import TaskStatus

# A runner reports every 10 s; a run that is silent for so long is lost.
SILENT_SECONDS = 30
# Of a run whose runner was not heard of for so long no more lines are awaited.
GONE_SECONDS = 3600
MAX_ACTIVITIES = 50
_ITEMS = msgspec.json.Decoder(list[msgspec.Raw])
FOUND_AGAIN = "found again"
_LINES = "last_output"

ENDS: frozenset[RunState] = frozenset({"completed", "failed", "killed"})
LIVE: frozenset[RunState] = frozenset({"starting", "running", "paused", "waiting_input"})
# By the state it is in: the states a run may move to. What is not here is refused.
TRANSITIONS: dict[RunState, frozenset[RunState]] = {
    # A quick process has ended before it is said to run.
    "starting": frozenset({"running", "waiting_input", "completed", "failed", "killed", "lost"}),
    "running": frozenset({"paused", "waiting_input", "completed", "failed", "killed", "lost"}),
    "paused": frozenset({"running", "waiting_input", "completed", "failed", "killed", "lost"}),
    "waiting_input": frozenset({"running", "paused", "completed", "failed", "killed", "lost"}),
    # Its runner was away and is back, or tells how it ended.
    "lost": frozenset({"starting", "running", "paused", "waiting_input", "completed", "failed", "killed"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "killed": frozenset(),
}
# The fields of a report that replace those of its run.
_REPLACED = ("pid", "exit_code", "signal", "lines_given", "worker_id", "command", "recipe", "usage", "result", "error")


@dataclass(frozen=True, slots=True)
class TaskNow:
    """What a run's task has come to: its status, attempt and holder."""

    status: TaskStatus
    attempt: int
    claimed_by: str | None


@dataclass(frozen=True, slots=True)
class Reported:
    """A run after a report; `transition` None: its state is as it was."""

    run: Run
    transition: RunTransition | None
    events: list[Event]


def begin(data: AgentReport, by: str, at: datetime) -> Reported:
    """The run that a first report makes. Raises `Rejected("not_found")` when it does not say whose it is."""
    if data.agent_name is None or data.session_id is None:
        raise Rejected(
            "not_found",
            f"there is no run {data.run_id!r}; the first report of a run names `agent_name` and `session_id`",
            run_id=data.run_id,
        )
    moment = rfc3339(at)
    state: RunState = data.state or "starting"
    run = Run(
        run_id=data.run_id,
        name=data.name or f"{data.agent_name}-{at:%Y%m%dT%H%M%S}"[:255],
        agent_name=data.agent_name,
        session_id=data.session_id,
        task_id=data.task_id,
        attempt=data.attempt,
        worker_id=data.worker_id,
        command=mask(data.command or ""),
        recipe=data.recipe,
        state=state,
        cause=_masked(data.cause),
        pid=data.pid,
        exit_code=data.exit_code,
        signal=data.signal,
        lines=0,
        bytes=0,
        lines_given=data.lines_given,
        usage=data.usage or Usage(),
        result=masked_json(data.result),
        error=_masked(data.error),
        started=moment,
        heard=moment,
        ended=moment if state in ENDS else None,
    )
    transition = RunTransition(was=None, state=state, cause=run.cause, by=by, at=moment)
    events: list[Event] = [AgentRunStarted(**_about(run), run=run)]
    if state in ENDS:
        events.append(AgentRunEnded(**_about(run), transition=transition, run=run))
    return Reported(run, transition, events)


def report(
    run: Run, data: AgentReport, by: str, at: datetime, *, before_loss: RunState | None, task: TaskNow | None
) -> Reported:
    """What a report makes of a run; the same one again changes nothing.

    `before_loss`: the state a lost run was in, which it goes back to when nothing else is said; `task`: the run's, as
    it is now. Raises `Rejected`: `not_found` when the run is another session's, `conflict` for a move that no run makes
    and for the return of a run whose task is in other hands.
    """
    if data.session_id not in (None, run.session_id):
        raise unknown_run(data.run_id)
    if data.agent_name not in (None, run.agent_name):
        raise conflict(f"run {run.run_id!r} is {run.agent_name}'s, not {data.agent_name}'s", run_id=run.run_id)
    state: RunState = data.state or ((before_loss or "running") if run.state == "lost" else run.state)
    changes: dict[str, Any] = {name: given for name in _REPLACED if (given := getattr(data, name)) is not None} | {
        "heard": rfc3339(at)
    }
    for name in ("command", "error"):
        if name in changes:
            changes[name] = mask(changes[name])
    if "result" in changes:
        changes["result"] = masked_json(changes["result"])
    if run.task_id is None and data.task_id is not None:
        changes |= {"task_id": data.task_id, "attempt": data.attempt}
    if state == run.state:
        return Reported(run.model_copy(update=changes), None, [])
    if state not in TRANSITIONS[run.state]:
        raise conflict(
            f"run {run.run_id!r} is {run.state} and can't become {state}",
            run_id=run.run_id,
            state=run.state,
            reason="transition",
        )
    cause = _masked(data.cause)
    if run.state == "lost" and state in LIVE:
        if task is not None and is_given_away(run, task):
            raise conflict(
                f"run {run.run_id!r} was lost, and its task {run.task_id!r} is {task.status} by now (attempt"
                f" {task.attempt}): end the process and report that",
                run_id=run.run_id,
                state=run.state,
                reason="task_given_away",
            )
        cause = FOUND_AGAIN if cause is None else f"{FOUND_AGAIN}: {cause}"
    return _moved(run.model_copy(update=changes), state, cause, by, at)


def lose(run: Run, at: datetime) -> Reported:
    """A run whose runner has been silent for too long."""
    return _moved(run, "lost", f"nothing was heard of its runner for {SILENT_SECONDS} s", "system", at)


def is_given_away(run: Run, task: TaskNow) -> bool:
    """Whether a run's task was given to another, or is over, since the run began it."""
    if task.status not in ("claimed", "running"):
        return True
    return run.attempt is not None and task.attempt != run.attempt


def activities(run: Run, given: JsonText | None) -> list[Event]:
    """The events of what a runner has read out of the output. Raises `Rejected("invalid")` for a wrong shape."""
    if given is None:
        return []
    items = given.value()
    if not isinstance(items, list) or len(items) > MAX_ACTIVITIES:
        raise _wrong_activities(f"a list of up to {MAX_ACTIVITIES} objects")
    events: list[Event] = []
    for item, raw in zip(items, _ITEMS.decode(given.text), strict=True):
        if not isinstance(item, dict) or set(item) - {"kind", "at", "data"}:
            raise _wrong_activities("a list of objects {kind, at?, data}")
        kind, at = item.get("kind"), item.get("at")
        if not isinstance(kind, str) or not 0 < len(kind) <= 100:
            raise _wrong_activities("a list of objects whose `kind` is a word of up to 100 letters")
        if at is not None:
            moment_of(at, "activities")
        data = masked_json(JsonText(slices(bytes(raw)).get("data", b"null")))
        events.append(AgentActivity(**_about(run), kind=kind, at=at or now(), data=data or JsonText(b"null")))
    return events


def masked_answer(data: AgentReport) -> tuple[JsonText | None, str | None]:
    """What a report answers to a control request: its result or its error, secrets masked."""
    return masked_json(data.control_result), _masked(data.control_error)


def tells_lines(result: JsonText | None) -> TypeGuard[JsonText]:
    """Whether an answer shows lines of the output."""
    return result is not None and _LINES in _members(result)


def with_lines(result: JsonText, lines: list[StoredLine]) -> JsonText:
    """An answer with the stored lines for the runner's own: a secret that lines divide is masked only in those."""
    return JsonText(encode({**_members(result), _LINES: [line.__dict__ for line in lines]}))


def moment_of(text: Any, field: str) -> datetime:
    """An RFC 3339 moment with its offset. Raises `Rejected("invalid")` naming the field."""
    try:
        moment = datetime.fromisoformat(text.upper())
    except (ValueError, AttributeError):
        moment = None
    if moment is None or moment.tzinfo is None:
        raise invalid(f"`{field}` has {text!r}, which is no moment like 2026-01-31T12:00:00Z", field=field)
    return moment


def unknown_run(run_id: str) -> Rejected:
    """There is no such run."""
    return not_found("run", run_id)


def about(run: Run) -> dict[str, Any]:
    """What every event says of its run."""
    return _about(run)


def _moved(run: Run, state: RunState, cause: str | None, by: str, at: datetime) -> Reported:
    moment = rfc3339(at)
    transition = RunTransition(was=run.state, state=state, cause=cause, by=by, at=moment)
    moved = run.model_copy(update={"state": state, "cause": cause, "ended": moment if state in ENDS else None})
    kind = AgentRunEnded if state in ENDS else AgentRunChanged
    return Reported(moved, transition, [kind(**_about(moved), transition=transition, run=moved)])


def _about(run: Run) -> dict[str, Any]:
    return {
        "session_id": run.session_id,
        "run_id": run.run_id,
        "agent_name": run.agent_name,
        "task_id": run.task_id,
    }


def _members(result: JsonText) -> dict[str, Any]:
    value = result.value()
    return value if isinstance(value, dict) else {}


def _masked(text: str | None) -> str | None:
    return None if text is None else mask(text)


def masked_json(given: JsonText | None) -> JsonText | None:
    """JSON with the secrets in its texts masked; without any it stays as it was written."""
    if given is None or (mask(str(given)) == str(given) and b"\\" not in given.text):
        return given
    masked = _mask_within(value := given.value())
    return given if masked == value else JsonText(encode(masked))


def _mask_within(value: Any) -> Any:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, list):
        return [_mask_within(each) for each in value]
    if isinstance(value, dict):
        # A secret may be known by its name alone.
        return {name: _mask_member(name, each) for name, each in value.items()}
    return value


def _mask_member(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return _mask_within(value)
    said = f"{name}="
    together = mask(said + value)
    return together.removeprefix(said) if together != said + value and together.startswith(said) else mask(value)


def _wrong_activities(expected: str) -> Rejected:
    return invalid(f"`activities` should be {expected}", fields=[{"field": "activities", "kind": "shape"}])
