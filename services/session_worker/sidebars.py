"""Sidebars: who may look and write, which status may follow which, and what is told of a move; pure."""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from services.session_worker.mentions import named_in
from shared.errors import Rejected, conflict, invalid
from shared.messages import Command
from shared.messages.sidebar import Sidebar, SidebarStatus
from shared.messages.sidebar_events import (
    SidebarArchive,
    SidebarEvent,
    SidebarPause,
    SidebarResume,
    SidebarStatusUpdate,
)

# By the status it has: the statuses it may move to. What is not here is refused. A paused one is resumed before it
# goes on; one that waits does whatever comes next, which ends its waiting. What is merged or has failed may be put
# away, and what is put away stays that: it is forked.
TRANSITIONS: dict[SidebarStatus, frozenset[SidebarStatus]] = {
    "active": frozenset(
        {"testing", "paused", "waiting", "reviewing", "spawning_child", "consolidating", "archived", "failed"}
    ),
    "testing": frozenset(
        {"active", "paused", "waiting", "reviewing", "spawning_child", "consolidating", "archived", "failed"}
    ),
    "reviewing": frozenset(
        {"active", "testing", "paused", "waiting", "spawning_child", "consolidating", "archived", "failed"}
    ),
    "paused": frozenset({"active", "archived", "failed"}),
    "waiting": frozenset(
        {"active", "testing", "paused", "reviewing", "spawning_child", "consolidating", "archived", "failed"}
    ),
    "spawning_child": frozenset({"active", "testing", "waiting", "reviewing"}),
    "consolidating": frozenset({"active", "reviewing", "merged", "archived", "failed"}),
    "failed": frozenset({"archived"}),
    "merged": frozenset({"archived"}),
    "archived": frozenset(),
}
# Nothing can be written to one of these any more.
CLOSED: frozenset[SidebarStatus] = frozenset({"merged", "archived", "failed"})
# What only a command of its own brings about.
_BY_COMMAND: dict[SidebarStatus, str] = {
    "spawning_child": "spawn_sidebar with `parent_id` sets it while it opens a child",
    "merged": "merge_sidebar does that",
}
# How long a chain of sidebars that inherit from each other may get.
MAX_LINEAGE = 100
# Where an `@` is no mention: fenced and inline code.
_CODE = re.compile(r"```.*?(?:```|\Z)|``.+?``|`[^`\n]+`", re.DOTALL)

Moved = tuple[Sidebar, list[SidebarEvent]]
Told = TypeVar("Told", bound=SidebarEvent)


def told(event: type[Told], sidebar: Sidebar, **fields: Any) -> Told:
    """An event of a sidebar, which it carries whole."""
    return event(session_id=sidebar.session_id, sidebar_id=sidebar.sidebar_id, sidebar=sidebar, **fields)


def is_among(sidebar: Sidebar, command: Command) -> bool:
    """Whether whoever sends a command may know of a sidebar: its participants and admins may."""
    return command.by_admin or command.sender_agent_id in sidebar.participants


def check_access(sidebar: Sidebar, command: Command) -> None:
    """Raise `Rejected("forbidden")` unless whoever sends a command may know of the sidebar."""
    if not is_among(sidebar, command):
        raise Rejected(
            "forbidden",
            f"sidebar {sidebar.sidebar_id!r} is for its participants and for admins, and {command.sender_agent_id!r} "
            "takes no part in it",
            sidebar_id=sidebar.sidebar_id,
            sender_agent_id=command.sender_agent_id,
        )


def check_open(sidebar: Sidebar) -> None:
    """Raise `Rejected("conflict")` when nothing can be written to the sidebar any more."""
    if sidebar.status in CLOSED:
        raise conflict(
            f"sidebar {sidebar.sidebar_id!r} is {sidebar.status}; nothing can be written to it, but it can be forked",
            sidebar_id=sidebar.sidebar_id,
            status=sidebar.status,
        )


def moved(sidebar: Sidebar, status: SidebarStatus, *, reason: str | None, by: str, moment: str) -> Moved:
    """The sidebar in another status, and the event that tells of it. Raises `Rejected("conflict")`."""
    if status not in TRANSITIONS[sidebar.status]:
        raise _refused(sidebar, status)
    after = sidebar.model_copy(
        update={
            "status": status,
            "reason": reason,
            "waiting_for": sidebar.waiting_for if status in ("waiting", "spawning_child") else None,
            "last_activity": moment,
        }
    )
    update = told(
        SidebarStatusUpdate, after, old_status=sidebar.status, new_status=status, reason=reason, updated_by=by
    )
    return after, [update]


def _refused(sidebar: Sidebar, wanted: SidebarStatus, hint: str | None = None) -> Rejected:
    allowed = sorted(TRANSITIONS[sidebar.status] - {"spawning_child"})
    may = f"it may become {', '.join(allowed)}" if allowed else "it stays that; it can be forked"
    return conflict(
        f"sidebar {sidebar.sidebar_id!r} is {sidebar.status}, and can't become {wanted}: {hint or may}",
        sidebar_id=sidebar.sidebar_id,
        status=sidebar.status,
        wanted=wanted,
        allowed=allowed,
    )


def set_status(sidebar: Sidebar, status: SidebarStatus, *, reason: str | None, by: str, moment: str) -> Moved:
    """Move a sidebar to a status, as `pause`, `resume` and `archive` do to theirs; the one it has changes nothing.

    Raises `Rejected`: `conflict` for a move that its status does not allow, `invalid` for a failure without a reason.
    """
    if status == sidebar.status:
        check_open(sidebar)
        return sidebar, []
    if status in _BY_COMMAND:
        raise _refused(sidebar, status, _BY_COMMAND[status])
    match status:
        case "paused":
            return pause(sidebar, reason=reason, resume_condition=None, by=by, moment=moment)
        case "archived":
            return archive(sidebar, reason=reason, by=by, moment=moment)
        case "active" if sidebar.status in ("paused", "waiting"):
            return resume(sidebar, reason=reason, by=by, moment=moment)
        case "failed" if not (reason or "").strip():
            raise invalid(
                "a sidebar that fails needs a `reason`",
                fields=[{"field": "reason", "fault": "a reason is needed for `failed`", "kind": "missing"}],
            )
    return moved(sidebar, status, reason=reason, by=by, moment=moment)


def pause(sidebar: Sidebar, *, reason: str | None, resume_condition: str | None, by: str, moment: str) -> Moved:
    """Stop a sidebar for a while; a paused one stays as it is. Raises `Rejected("conflict")`."""
    if sidebar.status == "paused":
        return sidebar, []
    paused, events = moved(sidebar, "paused", reason=reason, by=by, moment=moment)
    event = told(SidebarPause, paused, reason=reason, resume_condition=resume_condition, paused_by=by)
    return paused, [*events, event]


def resume(sidebar: Sidebar, *, reason: str | None, by: str, moment: str) -> Moved:
    """Go on with a paused or waiting sidebar; an active one stays as it is. Raises `Rejected("conflict")`."""
    if sidebar.status == "active":
        return sidebar, []
    if sidebar.status not in ("paused", "waiting"):
        raise conflict(
            f"sidebar {sidebar.sidebar_id!r} is {sidebar.status}; only a paused or waiting one is resumed",
            sidebar_id=sidebar.sidebar_id,
            status=sidebar.status,
            wanted="active",
        )
    active, events = moved(sidebar, "active", reason=reason, by=by, moment=moment)
    return active, [*events, told(SidebarResume, active, reason=reason, resumed_by=by)]


def archive(sidebar: Sidebar, *, reason: str | None, by: str, moment: str) -> Moved:
    """Put a sidebar away, whatever it was but archived. Raises `Rejected("conflict")`."""
    archived, events = moved(sidebar, "archived", reason=reason, by=by, moment=moment)
    event = told(SidebarArchive, archived, archive_reason=reason, final_status=sidebar.status, archived_by=by)
    return archived, [*events, event]


def merge(sidebar: Sidebar, *, success: bool, by: str, moment: str) -> Moved:
    """A sidebar once it is merged, by way of `consolidating`. Raises `Rejected("conflict")`, a second time too."""
    events: list[SidebarEvent] = []
    if sidebar.status != "consolidating":
        if "consolidating" not in TRANSITIONS[sidebar.status]:
            raise _refused(sidebar, "merged")
        sidebar, events = moved(sidebar, "consolidating", reason=None, by=by, moment=moment)
    sidebar = sidebar.model_copy(update={"success": success})
    sidebar, updates = moved(sidebar, "merged", reason=None, by=by, moment=moment)
    return sidebar, [*events, *updates]


def participants_of(asked: Sequence[str], coordinator: str | None) -> list[str]:
    """Who takes part, each once, in the order named, the coordinator too. Raises `Rejected("invalid")` over 100."""
    everyone = list(dict.fromkeys([*asked, *([coordinator] if coordinator is not None else [])]))
    if len(everyone) > 100:
        raise invalid(f"a sidebar has at most 100 participants, and these are {len(everyone)}")
    return everyone


def mentioned(text: str, sidebar: Sidebar, author: str) -> list[str]:
    """The participants whom a text names as `@agent`, each once; not in code, nor in an e-mail address."""
    if "@" not in text:
        return []
    return named_in(_CODE.sub(" ", text), sidebar.participants, author)
