"""Hooks of Claude Code: the bus's own command that notes one down, and the event of one that came too late."""

from typing import ClassVar, Literal

from shared.messages.actions import ActionType
from shared.messages.commands import CommandData
from shared.messages.envelope import Event, Id
from shared.messages.json_text import JsonText
from shared.messages.registry import command
from shared.messages.session import SessionStatus


@command("webhook", result={"noted": str, "id": str}, public=False, needs_session=False)
class ReceiveClaudeHook(CommandData):
    """Note down a hook of Claude Code in the session named after its `session_id`, which is opened if need be."""

    session_id: Id
    # Its `hook_event_name`.
    event: ActionType
    # What Claude Code sent, untouched.
    hook: JsonText


class LateHook(Event):
    """A hook of Claude Code came for a session that is closed: it is told of, and written nowhere but here."""

    topic: ClassVar = "session.{session_id}.hook"
    type: Literal["late_hook"] = "late_hook"
    status: SessionStatus
    hook: JsonText
