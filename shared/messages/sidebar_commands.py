"""The commands of sidebars: opened, looked at, talked in, moved on, forked, merged and put away."""

from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import Id, Label, Priority
from shared.messages.json_text import JsonText
from shared.messages.registry import command
from shared.messages.session import Cursor, Limit
from shared.messages.sidebar import (
    AgentContext,
    Exchange,
    Merged,
    Sidebar,
    SidebarFigures,
    SidebarStatus,
    TestOutcome,
    WaitingFor,
    WholeSidebar,
)

Participants = Annotated[list[Id], Field(max_length=100)]
References = Annotated[list[Id], Field(max_length=100)]
Post = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
Importance = Annotated[Priority, BeforeValidator(lambda given: "critical" if given == "urgent" else given)]


@command(
    "sidebar",
    result={"sidebar": Sidebar},
    creates=True,
    confidential=True,
    example={
        "session_id": "demo",
        "sidebar_id": "flaky-test",
        "participants": ["claude", "ada"],
        "task_description": "Find out why the checkout test fails",
        "success_criteria": "The test passes ten times in a row",
    },
)
class SpawnSidebar(CommandData):
    """Open a side conversation under a session, or with `parent_id` under another sidebar, whose memory it inherits.

    `review_of` is the key of a memory that several agents wrote at once; only the system and admins may give it. While
    a review of that key is open in the session, it is answered with that one, which gets the participants and data
    references besides, and no second one is opened.

    `at_seq`: it begins with the memories the session had after its event with this number, instead of those it has.
    """

    session_id: Id
    sidebar_id: Id | None = None
    parent_id: Id | None = None
    participants: Annotated[list[Id], Field(min_length=1, max_length=100)]
    task_description: Label
    success_criteria: Label | None = None
    coordinator: Id | None = None
    priority: Importance | None = None
    data_refs: JsonText | None = None
    cross_sidebar_refs: References = []
    review_of: Id | None = None
    at_seq: Annotated[int, Field(ge=1, lt=2**63)] | None = None


@command("sidebar", result={"sidebar": WholeSidebar}, reads=True, example={"sidebar_id": "flaky-test"})
class GetSidebar(CommandData):
    """One sidebar with its inherited and its own memory (the latest `limit` of each), its history and who can do what.

    `before`: of its own memory, what was said before the exchange with this `seq`. A list that would take more than
    2 MB is cut at its older end.
    """

    sidebar_id: Id
    limit: Limit = 200
    before: Annotated[int, Field(ge=1, lt=2**31)] | None = None
    session_id: Id | None = None


@command(
    "sidebar",
    result={"sidebars": list[Sidebar], "next": str | None},
    reads=True,
    example={"session_id": "demo", "status": "active"},
)
class ListSidebars(CommandData):
    """The sidebars the asker takes part in (an admin: all), the most recently active first."""

    session_id: Id | None = None
    parent_id: Id | None = None
    participant: Id | None = None
    status: SidebarStatus | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@command(
    "sidebar",
    result={"exchange": Exchange},
    creates=True,
    needs_session=False,
    confidential=True,
    example={"sidebar_id": "flaky-test", "text": "@ada the clock is mocked twice", "data_refs": {"log": "run-17"}},
)
class PostToSidebar(CommandData):
    """Say something in a sidebar; `@agent` in the text reaches that agent wherever it is connected."""

    sidebar_id: Id
    text: Post
    data_refs: JsonText | None = None
    session_id: Id | None = None


@command(
    "sidebar",
    result={"sidebar": Sidebar},
    needs_session=False,
    confidential=True,
    example={"sidebar_id": "flaky-test", "status": "testing", "reason": "trying the second clock"},
)
class SetSidebarStatus(CommandData):
    """Move a sidebar to another status; a move its status does not allow is a conflict."""

    sidebar_id: Id
    status: SidebarStatus
    reason: Label | None = None
    session_id: Id | None = None


@command(
    "sidebar",
    result={"sidebar": Sidebar},
    needs_session=False,
    confidential=True,
    example={"sidebar_id": "flaky-test", "reason": "the runner is down", "resume_condition": "it is back"},
)
class PauseSidebar(CommandData):
    """Stop a sidebar for a while."""

    sidebar_id: Id
    reason: Label | None = None
    resume_condition: Label | None = None
    session_id: Id | None = None


@command(
    "sidebar",
    result={"sidebar": Sidebar},
    needs_session=False,
    confidential=True,
    example={"sidebar_id": "flaky-test", "reason": "it is back"},
)
class ResumeSidebar(CommandData):
    """Go on with a paused or waiting sidebar."""

    sidebar_id: Id
    reason: Label | None = None
    session_id: Id | None = None


@command(
    "sidebar",
    result={"sidebar": Sidebar},
    creates=True,
    needs_session=False,
    confidential=True,
    example={"sidebar_id": "flaky-test", "new_sidebar_id": "flaky-test-2", "reason": "it fails again"},
)
class ForkSidebar(CommandData):
    """Open a new sidebar that knows everything of another, which may be closed; that one stays as it is."""

    sidebar_id: Id
    new_sidebar_id: Id | None = None
    reason: Label
    participants: Participants | None = None
    session_id: Id | None = None


@command(
    "sidebar",
    result={"sidebar": Sidebar, "merged": Merged},
    needs_session=False,
    confidential=True,
    example={"sidebar_id": "flaky-test", "findings": "Two clocks were mocked", "success": True},
)
class MergeSidebar(CommandData):
    """Bring what a sidebar has found to its parent, whole and once; `success`: whether its criteria were met."""

    sidebar_id: Id
    findings: JsonText | None = None
    success: bool = True
    session_id: Id | None = None


@command(
    "sidebar",
    result={"sidebar": Sidebar},
    needs_session=False,
    confidential=True,
    example={"sidebar_id": "flaky-test", "reason": "kept for the next time"},
)
class ArchiveSidebar(CommandData):
    """Put a sidebar away; it can still be read, and forked."""

    sidebar_id: Id
    reason: Label | None = None
    session_id: Id | None = None


@command(
    "sidebar",
    result={"sidebar": Sidebar, "exchange": Exchange},
    creates=True,
    needs_session=False,
    confidential=True,
    example={
        "sidebar_id": "flaky-test",
        "test_description": "One clock only",
        "result": "passed",
        "findings": "Ten of ten runs",
    },
)
class ReportTestResult(CommandData):
    """Tell a sidebar what a test has shown."""

    sidebar_id: Id
    test_description: Label
    result: TestOutcome
    findings: Post
    next_test_suggestion: Label | None = None
    session_id: Id | None = None


@command(
    "sidebar",
    result={"sidebar": Sidebar, "exchange": Exchange},
    creates=True,
    needs_session=False,
    confidential=True,
    example={
        "sidebar_id": "flaky-test",
        "waiting_for": "human_input",
        "description": "Which clock shall stay?",
        "estimated_wait_time": 600,
    },
)
class ReportWaiting(CommandData):
    """Say what a sidebar waits for; it is `waiting` until somebody resumes it. `estimated_wait_time`: seconds."""

    sidebar_id: Id
    waiting_for: WaitingFor
    description: Label
    estimated_wait_time: Annotated[float, Field(ge=0, le=10_000_000)] | None = None
    dependency_refs: References = []
    session_id: Id | None = None


@command("sidebar", result={"stats": SidebarFigures}, reads=True, example={"hours": 24})
class SidebarStats(CommandData):
    """How many sidebars there are, how often they are spawned, how long they live, how they end, who meets whom."""

    session_id: Id | None = None
    hours: Annotated[int, Field(ge=1, le=720)] = 24


@command("sidebar", result={"archived": int}, public=False, needs_session=False)
class ArchiveIdleSidebars(CommandData):
    """Archive the sidebars in which nothing has happened for the time that is set."""


@command("sidebar", result={"contexts": list[AgentContext]}, reads=True, public=False)
class GetAgentContexts(CommandData):
    """Where agents take part, up to 200 sessions and 200 sidebars of each."""

    agent_ids: Annotated[list[Id], Field(min_length=1, max_length=500)]
