"""control_agent and ask_agent: what is asked of a running process, and the answer of its runner."""

from datetime import datetime, timedelta
from typing import Literal

from services.task_worker.runs import rules
from services.task_worker.runs.asking import Asking
from services.task_worker.store import controls, output
from services.task_worker.store import runs as store
from shared.bus.parking import Wait
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.errors import Rejected, conflict, invalid
from shared.messages import Command, Event, JsonText, rfc3339
from shared.messages.runs import Run
from shared.messages.runs_control import AskAgent, Control, ControlAgent, StoredState
from shared.messages.runs_events import AgentControlAsked

# A request that nobody waits for stands for so long.
STANDING_SECONDS = 60.0
# How much of the output a state shows.
LAST_LINES = 10


def topic_of(control_id: str) -> str:
    """What a request waits for; no agent is called so."""
    return f"control\n{control_id}"


def control_agent(asking: Asking) -> Handler:
    """The handler of `control_agent`; a request that waits is told to its runner by `asking`."""

    async def control(tx: Transaction, command: Command) -> Reply:
        """Ask a run's runner, and wait for what it answers; `get_state` is told from what is stored, if need be.

        Raises `Rejected`: `invalid`, `not_found`, and `conflict` for a run that can't be asked and for what its runner
        refuses.
        """
        data: ControlAgent = command.data
        _check(data)
        control = await controls.find_control(tx, command.message_id)
        if control is not None and control.answered is not None:
            if control.error is not None:
                raise conflict(
                    f"run {control.run_id!r} did not {control.action}: {control.error}",
                    run_id=control.run_id,
                    action=control.action,
                )
            return Reply({"control": control})
        run = await _run_for(tx, data, control)
        now = await controls.now(tx)
        if run.state not in rules.LIVE:
            if data.action == "get_state":
                return Reply({"control": await _told(tx, command, run, now)})
            raise conflict(
                f"run {run.run_id!r} is {run.state}" + (": nothing is heard of its runner" if _is_lost(run) else ""),
                run_id=run.run_id,
                state=run.state,
            )
        asked = AskAgent.model_construct(
            control_id=command.message_id,
            asked_by=command.sender_agent_id,
            run_id=run.run_id,
            session_id=run.session_id,
            **{name: getattr(data, name) for name in ("action", "input", "end_input", "grace_s", "wait_s", "reason")},
        )
        if not data.wait_s:
            events = await _ask(tx, asked, run)
            standing = await controls.find_control(tx, command.message_id)
            return Reply({"control": standing}, events)
        if control is None:
            asking.ask(command, asked)
        wait = Wait(topic_of(command.message_id), frozenset(), None, data.wait_s)
        if data.action == "get_state":
            return Reply({"control": await _told(tx, command, run, now)}, wait=wait)
        refusal = Rejected(
            "timeout",
            f"the runner of run {run.run_id!r} has not answered within {data.wait_s:g} s; it may still do so:"
            " ask get_run",
            run_id=run.run_id,
            control_id=command.message_id,
        )
        return Reply({}, wait=Wait(wait.topic, wait.abilities, None, data.wait_s, refusal))

    return control


async def ask_agent(tx: Transaction, command: Command) -> Reply:
    """Tell the runner, once."""
    data: AskAgent = command.data
    run = await store.find_run(tx, data.run_id)
    if run is None:
        raise rules.unknown_run(data.run_id)
    events = await _ask(tx, data, run)
    return Reply({"asked": bool(events)}, events)


async def _ask(tx: Transaction, data: AskAgent, run: Run) -> list[Event]:
    asked = await controls.ask(tx, data.control_id, run.run_id, data.action, data.asked_by)
    if asked is None:
        return []
    expires = asked + timedelta(seconds=data.wait_s or STANDING_SECONDS)
    return [
        AgentControlAsked(
            **rules.about(run),
            # The gateway drops those last for whom there is no room.
            priority="critical",
            control_id=data.control_id,
            action=data.action,
            input=data.input,
            end_input=data.end_input,
            grace_s=data.grace_s,
            reason=data.reason,
            expires=rfc3339(expires),
        )
    ]


async def _run_for(tx: Transaction, data: ControlAgent, control: Control | None) -> Run:
    run_id = data.run_id or (control.run_id if control else None)
    if run_id is not None:
        run = await store.find_run(tx, run_id)
        if (
            run is None
            or data.session_id not in (None, run.session_id)
            or data.agent_name not in (None, run.agent_name)
        ):
            raise rules.unknown_run(run_id)
        return run
    found = [
        run for run in await store.live_runs(tx, data.agent_name or "") if data.session_id in (None, run.session_id)
    ]
    if not found:
        raise Rejected(
            "not_found", f"agent {data.agent_name!r} has no live run; list_runs tells which it had",
            agent_name=data.agent_name,
        )  # fmt: skip
    if len(found) > 1:
        raise conflict(
            f"agent {data.agent_name!r} has {len(found)} live runs; name one as `run_id`",
            agent_name=data.agent_name,
            run_ids=[run.run_id for run in found],
        )
    return found[0]


async def _told(tx: Transaction, command: Command, run: Run, now: datetime) -> Control:
    """The answer to `get_state` from what is stored."""
    state = StoredState(
        source="store",
        state=run.state,
        pid=run.pid,
        runtime_s=round(
            (
                (datetime.fromisoformat(run.ended) if run.ended else now) - datetime.fromisoformat(run.started)
            ).total_seconds(),
            3,
        ),
        lines=run.lines,
        bytes=run.bytes,
        last_output=await output.last_lines(tx, run.run_id, LAST_LINES),
        heard=run.heard,
    )
    status: Literal["told"] = "told"
    return Control(
        control_id=command.message_id,
        run_id=run.run_id,
        agent_name=run.agent_name,
        action="get_state",
        status=status,
        asked_by=command.sender_agent_id,
        result=JsonText.of(state),
        error=None,
        asked=rfc3339(now),
        answered=rfc3339(now),
    )


def _check(data: ControlAgent) -> None:
    if data.run_id is None and data.agent_name is None:
        raise invalid("name a run by `run_id`, or by the `agent_name` that has one live run", field="run_id")
    if data.action == "send_input" and data.input is None and not data.end_input:
        raise invalid("send_input needs `input`, or `end_input` to close it", field="input")
    if data.action != "send_input" and (data.input is not None or data.end_input):
        raise invalid(f"`input` is for send_input, not for {data.action}", field="input")


def _is_lost(run: Run) -> bool:
    return run.state == "lost"
