"""What the audit log says of a command: by which key and agent, about what, and what came of it; no I/O."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from shared.messages import Command

# The key of what a program on the bus, or a worker itself, has published: no door, so no key.
BUS = "bus"


class Entry(NamedTuple):
    """A row of the audit log."""

    key: str
    agent_id: str
    command: str
    message_id: str
    session_id: str | None
    target: str | None
    outcome: str


def is_audited(command: Command, *, eventful: bool) -> bool:
    """Whether a write is told: webhooks are deliveries already, and a timer that found nothing to do is no news.

    Nor are lines of output: they are kept with their run, many times a second. One that was refused is told.
    """
    if command.spec.reads or command.spec.area == "webhook" or (command.spec.name == "agent_output" and eventful):
        return False
    return eventful or command.caller is not None or command.sender_agent_id != "system"


def entry_of(command: Command, result: Mapping[str, Any] | None, outcome: str, message_id: str = "") -> Entry:
    """The row of a command, with what it made or changed as far as that can be told without decoding its result.

    `message_id`: the one it was sent under, where that is not its own.
    """
    data = command.data.__dict__
    session_id, target = data.get("session_id"), None
    if result:
        noun, value = next(iter(result.items()))
        said = getattr(value, "__dict__", data)
        target = said.get(f"{noun}_id") or said.get("key") or said.get("name") or data.get(f"{noun}_id")
        session_id = session_id or said.get("session_id")
    return Entry(
        command.caller or BUS,
        command.sender_agent_id,
        command.spec.name,
        message_id or command.message_id,
        session_id,
        target if isinstance(target, str) else None,
        outcome,
    )
