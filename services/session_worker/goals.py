"""Goals of a session; pure."""

from services.session_worker.merge_patch import merge
from shared.errors import Rejected, conflict, invalid
from shared.messages import Command, JsonText, new_id
from shared.messages.state import AddGoal, Goal, UpdateGoal


def goal_of(command: Command, moment: str) -> Goal:
    """The goal an `add_goal` asks for, under an id of our making when it names none."""
    asked: AddGoal = command.data
    return Goal(
        session_id=asked.session_id,
        goal_id=asked.goal_id or new_id(),
        description=asked.description,
        status=asked.status,
        priority=asked.priority,
        metadata=asked.metadata or JsonText(b"{}"),
        created=moment,
        updated=moment,
    )


def updated(goal: Goal, asked: UpdateGoal, moment: str) -> Goal:
    """The goal as it was asked to be, its metadata patched; the same object when that changes nothing.

    Raises `Rejected("invalid")` when nothing was asked.
    """
    wanted = {
        name: value
        for name in ("status", "description", "priority", "metadata")
        if (value := getattr(asked, name)) is not None
    }
    if not wanted:
        raise invalid("name what is to change: status, description, priority or metadata", goal_id=goal.goal_id)
    if asked.metadata is not None:
        wanted["metadata"] = JsonText(merge(goal.metadata.text, asked.metadata.text))
    if all(getattr(goal, name) == value for name, value in wanted.items()):
        return goal
    return goal.model_copy(update={**wanted, "updated": moment})


def taken(goal: Goal) -> Rejected:
    """The refusal of a goal whose id the session has already."""
    return conflict(
        f"session {goal.session_id!r} has a goal {goal.goal_id!r} already",
        session_id=goal.session_id,
        goal_id=goal.goal_id,
    )


def missing(session_id: str, goal_id: str) -> Rejected:
    """There is no such goal in the session."""
    return Rejected(
        "not_found", f"session {session_id!r} has no goal {goal_id!r}", session_id=session_id, goal_id=goal_id
    )
