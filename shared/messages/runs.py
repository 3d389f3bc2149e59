"""Agents' runs: what a runner reports of a process and what the process writes. The rest stands beside, in `runs_*`.

A run is one process that a runner wraps. The runner reports its states (`agent_report`) and its lines (`agent_output`);
whoever may write can control it (`runs_control`), whoever may read can ask (`runs_reading`).
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import Id, Label, Model
from shared.messages.json_text import JsonText
from shared.messages.memory import Moment
from shared.messages.registry import command

RunState = Literal["starting", "running", "paused", "waiting_input", "completed", "failed", "killed", "lost"]
# What a runner may say of a process; `lost` is what the server finds out by itself.
ReportedState = Literal["starting", "running", "paused", "waiting_input", "completed", "failed", "killed"]
RunId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Stream = Literal["stdout", "stderr", "input"]

MAX_LINES = 500
# In bytes of UTF-8 without JSON's escapes, so that a command fits into a WebSocket frame of 64 KiB.
MAX_TEXT = 49_152

RUN_ID = "0199f7f0-6a1e-7c3e-8a55-1f0c2d3e4f51"


class Usage(Model):
    """What a run has used since it began, as far as its runner can tell; each report gives the whole."""

    input_tokens: Annotated[int, Field(ge=0, le=10**15)] = 0
    output_tokens: Annotated[int, Field(ge=0, le=10**15)] = 0
    cost_usd: Annotated[float, Field(ge=0, le=10**9)] = 0


class Run(Model):
    """A process that a runner wraps.

    `name` is `{agent}-{timestamp}` unless the runner gave another. `attempt` is that of its task. `cause` is what the
    last change of state was explained by. `lines` counts what is stored, over all streams: the next line is number
    `lines + 1`; `bytes` is their size. `lines_given` is how many there are in all, once the runner has said so.
    `heard` is when the runner was last heard of (noted once a second), `error` and `result` what it ended with.
    """

    run_id: str
    name: str
    agent_name: str
    session_id: str
    task_id: str | None
    attempt: int | None
    worker_id: str | None
    command: str
    recipe: str | None
    state: RunState
    cause: str | None
    pid: int | None
    exit_code: int | None
    signal: str | None
    lines: int
    bytes: int
    lines_given: int | None
    usage: Usage
    result: JsonText | None
    error: str | None
    started: str
    heard: str
    ended: str | None


class OutputLine(Model):
    """A line as a runner sends it, without its newline; its number is `first_line` plus its place in the list.

    `partial`: the line goes on in the next one of its stream (a long line in pieces, or a prompt that has no end yet).
    `encoding` base64: what the process wrote is no UTF-8 or holds a NUL, so `text` is the base64 of it. `input` is what
    was sent to the process.
    """

    stream: Stream
    text: Annotated[str, StringConstraints(max_length=MAX_TEXT)]
    at: Moment
    partial: bool = False
    encoding: Literal["base64"] | None = None


def _within_a_frame(lines: list[OutputLine]) -> list[OutputLine]:
    size = sum(len(line.text.encode()) for line in lines)
    if size > MAX_TEXT:
        raise ValueError(f"their text takes {size} bytes, and {MAX_TEXT} at most: send fewer at once")
    return lines


class StoredLine(Model):
    """A line of a run as it is kept; secrets are masked. `number` counts over all streams, from 1, without a gap."""

    number: int
    stream: Stream
    text: str
    at: str
    partial: bool
    encoding: Literal["base64"] | None


class Progress(Model):
    """How far a run's output is stored, and how much more the runner may send.

    Lines below `next_line` are stored and may be forgotten. The runner sends no line beyond `next_line + credit - 1`
    before the next answer, and waits `pause_s` seconds before it sends the next: both bound how much a chatty process
    brings.
    """

    run_id: str
    next_line: int
    credit: int
    pause_s: float


@command(
    "agent",
    result={"run": Run},
    needs_session=False,
    scope="agent",
    idempotent=True,
    example={
        "run_id": RUN_ID,
        "agent_name": "claude_code",
        "session_id": "demo",
        "worker_id": "laptop-1",
        "command": "claude",
        "state": "running",
        "pid": 4711,
    },
)
class AgentReport(CommandData):
    """Report a run: that it began, what state it is in, that it lives, or what a control request came to.

    The first report of a `run_id` makes the run, and needs `agent_name` and `session_id` (an open session); later ones
    may leave out whatever has not changed. Send one at each change, and every 10 s: a run that is silent for 30 s is
    `lost`. The same state again changes nothing; a move that no run makes is `conflict`, and so is the return of a
    lost run whose task was given to another meanwhile (`details.reason` is `task_given_away`: end the process). A lost
    run that reports its end, or goes on, is found again. `activities` is a list of up to 50 objects `{kind, at?, data}`
    (a tool call, a plan, whatever a recipe reads out of the output), each of which becomes an event. `control_id`
    answers a control request, with `control_result` or, if it could not be done, `control_error`.
    """

    run_id: RunId
    session_id: Id | None = None
    agent_name: Id | None = None
    name: Id | None = None
    task_id: Id | None = None
    attempt: Annotated[int, Field(ge=1, le=10_000)] | None = None
    worker_id: Id | None = None
    # The program and what it is for, never its environment.
    command: Label | None = None
    recipe: Id | None = None
    state: ReportedState | None = None
    cause: Label | None = None
    pid: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    exit_code: Annotated[int, Field(ge=-(2**31), le=2**32 - 1)] | None = None
    # Its name, e.g. SIGTERM.
    signal: Annotated[str, StringConstraints(pattern=r"^[A-Z0-9+]{1,20}$")] | None = None
    # How many lines there are in all; said at the end.
    lines_given: Annotated[int, Field(ge=0, le=2**53)] | None = None
    usage: Usage | None = None
    result: JsonText | None = None
    error: Label | None = None
    activities: JsonText | None = None
    control_id: Id | None = None
    control_result: JsonText | None = None
    control_error: Label | None = None


@command(
    "agent",
    result={"output": Progress},
    needs_session=False,
    scope="agent",
    idempotent=True,
    example={
        "run_id": RUN_ID,
        "first_line": 1,
        "lines": [{"stream": "stdout", "text": "12 passed in 0.42s", "at": "2026-02-10T12:00:00.123456Z"}],
    },
)
class AgentOutput(CommandData):
    """Store lines of a run, up to 500 and 48 KiB of text at once; in their order, over all streams, without a gap.

    Lines that are stored already are passed over, so sending them again is harmless. If lines before `first_line` are
    missing, it is `conflict` with `details.expected`: go on from there. Lines are taken whatever the run's state is,
    so that a runner can hand in what it kept while it was disconnected.
    """

    run_id: RunId
    session_id: Id | None = None
    first_line: Annotated[int, Field(ge=1, le=2**53)]
    lines: Annotated[list[OutputLine], Field(min_length=1, max_length=MAX_LINES), AfterValidator(_within_a_frame)]

    @property
    def count_within(self) -> int:
        """What it weighs: as much as a command within a batch for each ten lines."""
        return len(self.lines) // 10
