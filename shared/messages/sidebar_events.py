"""The events of sidebars, their names and fields those of the WebSocket design; each carries its sidebar whole."""

from typing import ClassVar, Literal

from shared.messages.envelope import Event
from shared.messages.json_text import JsonText
from shared.messages.sidebar import ChildResult, ContextRef, Exchange, Sidebar, SidebarStatus, TestOutcome, WaitingFor


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
