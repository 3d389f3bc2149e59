"""Sidebars: side conversations under a session or another sidebar, what is said there, and who takes part."""

from typing import Literal

from shared.messages.envelope import Model, Priority
from shared.messages.json_text import JsonText

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


class AgentContext(Model):
    """Where an agent takes part: its open sessions and its open sidebars, the most recently active first."""

    agent_id: str
    sessions: list[str]
    sidebars: list[str]
