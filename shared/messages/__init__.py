"""Every message of the project, declared once: the command registry, the nouns, and one class for each event."""

from shared.messages import (  # noqa: F401  (declares the commands)
    access,
    actions,
    agent,
    artifacts,
    batch,
    callbacks,
    chat,
    chat_events,
    hooks,
    live,
    memory,
    mentions,
    reading,
    runs,
    runs_control,
    runs_events,
    runs_reading,
    session,
    sidebar_commands,
    sidebar_events,
    state,
    system,
    task,
    task_events,
    transfer,
)
from shared.messages.commands import COMMANDS, Command, CommandSpec, decode_command, encode_command, spec_of
from shared.messages.envelope import Event, new_id, now
from shared.messages.json_text import JsonText, check_json, encode, rfc3339

__all__ = [
    "COMMANDS",
    "EVENTS",
    "Command",
    "CommandSpec",
    "Event",
    "JsonText",
    "check_json",
    "decode_command",
    "encode",
    "encode_command",
    "new_id",
    "now",
    "rfc3339",
    "spec_of",
]


def _leaves(base: type[Event]) -> list[type[Event]]:
    children = base.__subclasses__()
    return [leaf for child in children for leaf in _leaves(child)] if children else [base]


# Every event class by its `type`.
EVENTS: dict[str, type[Event]] = {leaf.model_fields["type"].default: leaf for leaf in _leaves(Event)}
