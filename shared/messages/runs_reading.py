"""Questions about agents' runs: the runs, their lines, what was found in them, and figures of an agent."""

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import Id, Model
from shared.messages.json_text import JsonText
from shared.messages.memory import Moment
from shared.messages.registry import command
from shared.messages.runs import RUN_ID, Run, RunId, RunState, StoredLine, Stream
from shared.messages.runs_control import Control
from shared.messages.session import Cursor, Limit, Session, SessionStatus
from shared.messages.task import TaskStatus

Risk = Literal["low", "medium", "high", "critical"]
ExtractionType = Literal[
    "code_block",
    "command",
    "file_path",
    "url",
    "test_result",
    "error",
    "question",
    "confirmation",
    "tool_call",
    "secret",
]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class RunTransition(Model):
    """A change of a run's state; `was` is null at its beginning. `by` is who reported it, `system` for the server."""

    was: RunState | None
    state: RunState
    cause: str | None
    by: str
    at: str


class RunHistory(Run):
    """A run with every change of its state, and the last 50 control requests."""

    transitions: list[RunTransition]
    controls: list[Control]


class Extraction(Model):
    """Something that was found in a run's output.

    `type` is what it is: `code_block command file_path url test_result error question confirmation tool_call secret`.
    `pattern` is the name of the pattern that found it. `auto_confirm` says whether it may be answered with yes without
    asking a person. `data` are its details, by type. A code block's `text` is its beginning; all of it is kept once,
    under its `sha256` (`get_code_block`). Lines are the run's numbers; `place` counts what one pattern found that
    begins in one line.
    """

    extraction_id: int
    run_id: str
    session_id: str
    agent_name: str
    task_id: str | None
    type: str
    pattern: str
    risk: Risk
    auto_confirm: bool
    text: str
    data: JsonText
    stream: Stream
    first_line: int
    last_line: int
    place: int
    sha256: str | None
    at: str
    created: str


class CodeBlock(Model):
    """A code block, kept once however often it is written; `first_…` and `last_…` are where it was seen."""

    sha256: str
    language: str | None
    content: str
    bytes: int
    seen: int
    first_run_id: str
    first_line: int
    first_seen: str
    last_run_id: str
    last_line: int
    last_seen: str


class SessionRuns(Session):
    """A session with its latest runs, up to 20, the newest first; of the agent that was asked for, if one was."""

    runs: list[Run]


class AgentFigures(Model):
    """What an agent has done within a stretch of time, by when its runs began, up to the newest 10,000 of them.

    `success_rate` is completed runs among completed, failed, killed and lost ones, null without any; so are the
    durations (seconds, of runs that have ended). `tasks` are those its runs worked for, by status. Extractions are
    counted by the day (UTC) they were found on, also those that retention has deleted.
    """

    agent_name: str
    since: str
    until: str
    runs: int
    by_state: dict[RunState, int]
    success_rate: float | None
    mean_duration_s: float | None
    median_duration_s: float | None
    p95_duration_s: float | None
    lines: int
    bytes: int
    input_tokens: int
    output_tokens: int
    cost_usd: float
    tasks: dict[TaskStatus, int]
    extractions: int
    extractions_by_type: dict[str, int]
    extractions_by_risk: dict[Risk, int]


@command(
    "agent",
    result={"runs": list[Run], "next": str | None},
    reads=True,
    example={"agent_name": "claude_code", "state": "running", "limit": 20},
)
class ListRuns(CommandData):
    """Runs by session, agent, task, state and the time they began, the newest first.

    2,000 runs are looked at for a page: it may be short, or empty, and have a `next` all the same.
    """

    session_id: Id | None = None
    agent_name: Id | None = None
    task_id: Id | None = None
    state: RunState | None = None
    since: Moment | None = None
    until: Moment | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@command("agent", result={"run": RunHistory}, reads=True, example={"run_id": RUN_ID})
class GetRun(CommandData):
    """One run with the changes of its state and what was asked of it."""

    run_id: RunId
    session_id: Id | None = None


@command(
    "agent",
    result={"lines": list[StoredLine], "next": str | None},
    reads=True,
    example={"run_id": RUN_ID, "after_line": 100, "limit": 200},
)
class GetOutput(CommandData):
    """A run's lines in their order: after a line, or with `tail` the last `limit` ones.

    A page may be cut shorter than `limit` by its size. With `stream`, 20,000 lines of all streams are looked at for a
    page: it may be short, or empty, and have a `next` all the same. Lines older than the retention are not there any
    more: the first number tells.
    """

    run_id: RunId
    session_id: Id | None = None
    stream: Stream | None = None
    after_line: Annotated[int, Field(ge=0, le=2**53)] = 0
    tail: bool = False
    limit: Annotated[int, Field(ge=1, le=1_000)] = 200
    cursor: Cursor | None = None


@command(
    "agent",
    result={"extractions": list[Extraction], "next": str | None},
    reads=True,
    example={"session_id": "demo", "type": "error", "limit": 20},
)
class QueryExtractions(CommandData):
    """What was found in the output of runs, by any of these together, the newest first.

    `text` is what the extraction holds, in any case. `since` and `until` are about when it was found. 2,000 are looked
    at for a page: it may be short, or empty, and have a `next` all the same.
    """

    session_id: Id | None = None
    agent_name: Id | None = None
    run_id: RunId | None = None
    type: ExtractionType | None = None
    pattern: Id | None = None
    risk: Risk | None = None
    auto_confirm: bool | None = None
    text: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    since: Moment | None = None
    until: Moment | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@command("agent", result={"code_block": CodeBlock}, reads=True, example={"sha256": "ab" * 32})
class GetCodeBlock(CommandData):
    """A code block by the SHA-256 of its content, with how often, and where first and last, it was seen."""

    sha256: Sha256


@command(
    "agent",
    result={"stats": AgentFigures},
    reads=True,
    example={"agent_name": "claude_code", "since": "2026-02-01T00:00:00Z"},
)
class AgentStats(CommandData):
    """Figures of an agent: runs by state, durations, lines, cost, tasks, what was found; by default of 30 days."""

    agent_name: Id
    since: Moment | None = None
    until: Moment | None = None


@command(
    "agent",
    result={"sessions": list[SessionRuns], "next": str | None},
    reads=True,
    example={"agent_name": "claude_code", "status": "active", "limit": 20},
)
class QuerySessions(CommandData):
    """Sessions by status, agent and time, each with its runs.

    Without an agent the most recently active first, and `since` and `until` are about that activity. With one, those
    in which it ran, the latest run first, and they are about when that began. 2,000 are looked at for a page: it may be
    short, or empty, and have a `next` all the same.
    """

    status: SessionStatus | None = None
    agent_name: Id | None = None
    since: Moment | None = None
    until: Moment | None = None
    limit: Limit = 50
    cursor: Cursor | None = None
