"""Sidebars: side conversations under a session or another sidebar; commands, nouns and events.

Names and fields of the events are those of the WebSocket design (seed 004); each carries its sidebar whole besides.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import Event, Id, Label, Model, Priority, Trust
from shared.messages.json_text import JsonText
from shared.messages.registry import command
from shared.messages.session import Cursor, Limit

SidebarStatus = Literal[
    "active",
    "testing",
    "paused",
    "waiting",
    "reviewing",
    "spawning_child",
    "consolidating",
    "merged",
    "archived",
    "failed",
]
TestOutcome = Literal["passed", "failed", "inconclusive"]
WaitingFor = Literal["human_input", "external_dependency", "other_sidebar", "system_resource"]
ExchangeKind = Literal["post", "test_result", "waiting", "merge"]
Participants = Annotated[list[Id], Field(max_length=100)]
References = Annotated[list[Id], Field(max_length=100)]
Post = Annotated[str, StringConstraints(min_length=1, max_length=100_000)]
Importance = Annotated[Priority, BeforeValidator(lambda given: "critical" if given == "urgent" else given)]


# Letters: a mention goes to many, each has its own, and up to a thousand of them wait for an agent.
MAX_MENTION = 10_000


class AgentCapability(Model):
    """What a participant can do, and how much it has to do: `current_load` is the number of its open sidebars."""

    agent_id: str
    specialties: list[str]
    availability: Literal["available", "busy", "offline", "unknown"]
    current_load: int
    preferred_collaborators: list[str]


class Exchange(Model):
    """Something said in a sidebar; `seq` numbers those of one sidebar without a gap.

    `origin_sidebar_id` is where it was said first, when a merge brought it here; it keeps its `exchange_id`.
    """

    exchange_id: str
    sidebar_id: str
    seq: int
    kind: ExchangeKind
    author: str
    text: str
    data_refs: JsonText
    mentions: list[str]
    origin_sidebar_id: str | None
    message_id: str
    created: str


class ContextRef(Model):
    """A piece of inherited context: an exchange of another sidebar, or a memory of the session in one version."""

    kind: Literal["exchange", "memory"]
    id: str
    sidebar_id: str | None = None
    session_id: str | None = None
    version: int | None = None


class Sidebar(Model):
    """A side conversation. `parent_id` is the sidebar it hangs under; null: it hangs under the session itself.

    `review_of` is the key of the memory that a review sidebar is about. `success` says, once it is merged, whether its
    criteria were met. `reason` is why it has the status it has. Of children and of linked sidebars, the newest 100 are
    named, the oldest of those first.
    """

    sidebar_id: str
    session_id: str
    parent_id: str | None
    forked_from: str | None
    child_sidebar_ids: list[str]
    participants: list[str]
    coordinator: str | None
    task_description: str
    success_criteria: str | None
    status: SidebarStatus
    priority: Priority
    reason: str | None
    data_refs: JsonText
    cross_sidebar_refs: list[str]
    waiting_for: WaitingFor | None
    review_of: str | None
    exchange_count: int
    success: bool | None
    created: str
    last_activity: str


class InheritedMemory(Model):
    """A memory of the session, as it was when the sidebar that hangs under the session was opened."""

    key: str
    version: int
    type: str
    content: JsonText
    tags: list[str]
    author: str
    updated: str


class Inherited(Model):
    """Something that a sidebar knows from outside: an exchange of another sidebar, or a memory of the session."""

    exchange: Exchange | None = None
    memory: InheritedMemory | None = None


class StatusChange(Model):
    """A move in a sidebar's history; `from_status` null: it was opened."""

    from_status: SidebarStatus | None
    to_status: SidebarStatus
    by: str
    reason: str | None
    at: str


class WholeSidebar(Sidebar):
    """A sidebar with what its participants know: what came from outside, what was said inside, what each can do.

    `findings` is what its merge has brought up, null before that.
    """

    findings: JsonText
    inherited_memory: list[Inherited]
    local_memory: list[Exchange]
    agent_capabilities: list[AgentCapability]
    history: list[StatusChange]


class ChildResult(Model):
    """What a child has brought up when it was merged."""

    sidebar_id: str
    task_description: str
    findings: JsonText
    success: bool


class Merged(Model):
    """What a merge brought to the parent.

    `exchange_count` exchanges went up; `exchanges_to_merge` are the last of them, 200 at most and as many as fit into
    200,000 bytes. `artifact_id` is that of the session's artifact when there is no parent.
    """

    sidebar_id: str
    parent_id: str | None
    artifact_id: str | None
    consolidated_findings: JsonText
    new_data_refs: JsonText
    exchanges_to_merge: list[Exchange]
    exchange_count: int
    child_results: list[ChildResult]
    success: bool
    timestamp: str


class KeptMention(Model):
    """A message to one agent, kept until it has reached it; `target_agents` are all to whom it went.

    `mention_id` is the message id of its event.
    """

    mention_id: str
    agent_id: str
    author: str
    message: str
    target_agents: list[str]
    context_refs: list[str]
    session_id: str | None
    sidebar_id: str | None
    priority: Priority
    hops: int
    trust: Trust
    created: str


class Collaboration(Model):
    """How many sidebars two agents have shared."""

    agents: list[str]
    sidebars: int


class SidebarFigures(Model):
    """How sidebars go: how many there are, how often they are spawned, how long they live, how they end, who meets.

    All of the last `hours`, but for `open`, which are all there are now; `by_status` counts those and what was closed
    in that time. Null where there is nothing to tell of.
    """

    hours: int
    open: int
    spawned: int
    spawned_per_hour: float
    by_status: dict[str, int]
    lifespan_s_mean: float | None
    lifespan_s_p50: float | None
    merged: int
    merge_success_rate: float | None
    forked: int
    children: int
    inherited_depth_mean: float | None
    collaborations: list[Collaboration]


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


@command(
    "sidebar",
    result={"mentions": list[KeptMention]},
    creates=True,
    needs_session=False,
    confidential=True,
    example={"target_agents": ["ada"], "message": "The release waits for your review", "priority": "normal"},
)
class Mention(CommandData):
    """Reach agents wherever they are connected; who is not, hears of it on its next connect.

    Within a sidebar, only its participants may be mentioned.
    """

    target_agents: Annotated[list[Id], Field(min_length=1, max_length=50)]
    message: Annotated[str, StringConstraints(min_length=1, max_length=MAX_MENTION)]
    session_id: Id | None = None
    sidebar_id: Id | None = None
    context_refs: References = []
    priority: Importance | None = None


@command("sidebar", result={"stats": SidebarFigures}, reads=True, example={"hours": 24})
class SidebarStats(CommandData):
    """How many sidebars there are, how often they are spawned, how long they live, how they end, who meets whom."""

    session_id: Id | None = None
    hours: Annotated[int, Field(ge=1, le=720)] = 24


@command("sidebar", result={"archived": int}, public=False, needs_session=False)
class ArchiveIdleSidebars(CommandData):
    """Archive the sidebars in which nothing has happened for the time that is set."""


@command("sidebar", result={"mentions": list[KeptMention]}, reads=True, public=False)
class ListMentions(CommandData):
    """The mentions that have not reached an agent yet, the oldest first; those after one that is still among them."""

    agent_id: Id
    limit: Limit = 500
    after: Id | None = None


@command("sidebar", result={"reached": int}, public=False, needs_session=False)
class MarkMentions(CommandData):
    """Note that mentions have reached their agents."""

    mention_ids: Annotated[list[Id], Field(min_length=1, max_length=1000)]


class AgentContext(Model):
    """Where an agent takes part: its open sessions and its open sidebars, the most recently active first."""

    agent_id: str
    sessions: list[str]
    sidebars: list[str]


@command("sidebar", result={"contexts": list[AgentContext]}, reads=True, public=False)
class GetAgentContexts(CommandData):
    """Where agents take part, up to 200 sessions and 200 sidebars of each."""

    agent_ids: Annotated[list[Id], Field(min_length=1, max_length=500)]


class SidebarEvent(Event):
    """The base of what happens to a sidebar; only its participants and admins may hear of it."""

    sidebar: Sidebar


class SidebarSpawn(SidebarEvent):
    """A sidebar was opened; `parent_id` is the sidebar or the session above it."""

    topic: ClassVar = "sidebar.{sidebar_id}.spawned"
    type: Literal["sidebar_spawn"] = "sidebar_spawn"
    parent_id: str
    participants: list[str]
    inherited_context: list[ContextRef]
    task_description: str
    success_criteria: str | None
    requested_by: str


class SidebarStatusUpdate(SidebarEvent):
    """A sidebar moved to another status."""

    topic: ClassVar = "sidebar.{sidebar_id}.status"
    type: Literal["sidebar_status_update"] = "sidebar_status_update"
    old_status: SidebarStatus
    new_status: SidebarStatus
    reason: str | None
    updated_by: str


class SidebarPause(SidebarEvent):
    """A sidebar was stopped for a while."""

    topic: ClassVar = "sidebar.{sidebar_id}.paused"
    type: Literal["sidebar_pause"] = "sidebar_pause"
    reason: str | None
    resume_condition: str | None
    paused_by: str


class SidebarResume(SidebarEvent):
    """A sidebar goes on."""

    topic: ClassVar = "sidebar.{sidebar_id}.resumed"
    type: Literal["sidebar_resume"] = "sidebar_resume"
    reason: str | None
    resumed_by: str


class SidebarFork(SidebarEvent):
    """A sidebar was opened with everything another one knows; told in both."""

    topic: ClassVar = "sidebar.{sidebar_id}.forked"
    type: Literal["sidebar_fork"] = "sidebar_fork"
    original_sidebar_id: str
    new_sidebar_id: str
    fork_reason: str
    participants: list[str]
    forked_by: str


class SidebarChildSpawn(SidebarEvent):
    """A sidebar got a child; told in the parent."""

    topic: ClassVar = "sidebar.{sidebar_id}.child_spawned"
    type: Literal["sidebar_child_spawn"] = "sidebar_child_spawn"
    parent_sidebar_id: str
    child_sidebar_id: str
    sub_task_description: str
    assigned_agents: list[str]
    spawned_by: str


class SidebarMerge(SidebarEvent):
    """What a sidebar has found is its parent's now."""

    topic: ClassVar = "sidebar.{sidebar_id}.merged"
    type: Literal["sidebar_merge"] = "sidebar_merge"
    parent_id: str | None
    artifact_id: str | None
    consolidated_findings: JsonText
    new_data_refs: JsonText
    exchanges_to_merge: list[Exchange]
    exchange_count: int
    child_results: list[ChildResult]
    success: bool


class SidebarArchive(SidebarEvent):
    """A sidebar was put away; `final_status` is what it was before."""

    topic: ClassVar = "sidebar.{sidebar_id}.archived"
    type: Literal["sidebar_archive"] = "sidebar_archive"
    archive_reason: str | None
    final_status: SidebarStatus
    archived_by: str


class SidebarExchange(SidebarEvent):
    """Something was said in a sidebar."""

    topic: ClassVar = "sidebar.{sidebar_id}.posted"
    type: Literal["sidebar_exchange"] = "sidebar_exchange"
    exchange: Exchange


class SidebarTestResult(SidebarEvent):
    """A sidebar was told what a test has shown."""

    topic: ClassVar = "sidebar.{sidebar_id}.test_result"
    type: Literal["sidebar_test_result"] = "sidebar_test_result"
    test_description: str
    result: TestOutcome
    findings: str
    next_test_suggestion: str | None
    tested_by: str
    exchange: Exchange


class SidebarWaitingUpdate(SidebarEvent):
    """A sidebar waits for something. `estimated_wait_time`: seconds."""

    topic: ClassVar = "sidebar.{sidebar_id}.waiting"
    type: Literal["sidebar_waiting_update"] = "sidebar_waiting_update"
    waiting_for: WaitingFor
    description: str
    estimated_wait_time: float | None
    dependency_refs: list[str]
    exchange: Exchange


class MentionRoute(Event):
    """Somebody was mentioned; reaches every connection of its agent, whatever that is subscribed to.

    `target_agents` are all who were mentioned; each has an event of its own. Within a sidebar its participants (of
    whom `participants` is the list) and admins alone may hear of it.
    """

    topic: ClassVar = "agent.{agent_id}.mentioned"
    type: Literal["mention_route"] = "mention_route"
    agent_id: str
    mention: KeptMention
    target_agents: list[str]
    message: str
    context_refs: list[str]
    participants: list[str] | None
