"""Controlling an agent's run: what is asked of it and what its runner answers."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import Id, Label, Model
from shared.messages.json_text import JsonText
from shared.messages.registry import command
from shared.messages.runs import RUN_ID, RunId, RunState, StoredLine

Action = Literal["get_state", "pause", "resume", "send_input", "kill"]
ControlInput = Annotated[str, StringConstraints(max_length=32_768)]


class Control(Model):
    """Something asked of a run, and what came of it.

    `asked`: no answer yet. `done` and `refused`: the runner's answer, with `result` or `error`. `told`: the runner was
    not asked, or did not answer in time, and `result` is what is stored (a `StoredState`).
    """

    control_id: str
    run_id: str
    agent_name: str
    action: Action
    status: Literal["asked", "done", "refused", "told"]
    asked_by: str
    result: JsonText | None
    error: str | None
    asked: str
    answered: str | None


class StoredState(Model):
    """A run's state as it is stored; a runner answers `get_state` with the same members and what it sees beside them.

    Those are `cpu_percent`, `memory_bytes` and `processes`. `runtime_s` is from start to end, or until now.
    """

    source: Literal["store", "runner"]
    state: RunState
    pid: int | None
    runtime_s: float
    lines: int
    bytes: int
    last_output: list[StoredLine]
    heard: str


@command(
    "agent",
    result={"control": Control},
    needs_session=False,
    example={"run_id": RUN_ID, "action": "send_input", "input": "yes\n", "wait_s": 5},
)
class ControlAgent(CommandData):
    """Ask something of a running process: `get_state`, `pause`, `resume`, `send_input` (`input`, as it is) or `kill`.

    The run is named by `run_id`, or by `agent_name` where that has one live run. Its runner is asked, and its answer is
    the reply; after `wait_s` without one it is `timeout`, and of `get_state` what is stored. With `wait_s` 0 the
    reply does not wait. `kill` sends TERM, and KILL after `grace_s` seconds. `end_input` closes the input after what is
    sent. A run that has ended, or that nothing is heard of, is `conflict` for everything but `get_state`; what the
    runner could not do is `conflict` with its reason.
    """

    run_id: RunId | None = None
    agent_name: Id | None = None
    session_id: Id | None = None
    action: Action
    input: ControlInput | None = None
    end_input: bool = False
    grace_s: Annotated[float, Field(ge=0, le=300)] = 10
    wait_s: Annotated[float, Field(ge=0, le=30)] = 10
    reason: Label | None = None


@command("agent", result={"asked": bool}, public=False, needs_session=False)
class AskAgent(CommandData):
    """Tell a runner what is asked of its run, and remember that it was; for a request that waits for the answer."""

    control_id: Id
    asked_by: Id
    run_id: RunId
    action: Action
    input: ControlInput | None = None
    end_input: bool = False
    grace_s: float = 10
    wait_s: float = 10
    reason: Label | None = None
    session_id: Id | None = None


@command("agent", result={"lost": int}, public=False, needs_session=False)
class LoseSilentRuns(CommandData):
    """Note down as lost the runs whose runners have been silent for 30 s."""


@command("agent", result={"extractions": int}, public=False, needs_session=False)
class RecordExtractions(CommandData):
    """Keep what was found in the lines of a run that follow the last ones looked through, up to `last_line`."""

    run_id: RunId
    after_line: Annotated[int, Field(ge=0)]
    last_line: Annotated[int, Field(ge=0)]
    session_id: Id | None = None
