"""What a client wishes for while its connection is slow: which events come at once, and which may be told in short."""

import re
from dataclasses import dataclass

import msgspec

from services.ws_gateway.requests import Taste
from services.ws_gateway.stream.frames import CRITICAL, Frame
from shared.errors import invalid
from shared.messages.envelope import topic_word

PREFERENCES = ("summaries", "full_delayed", "critical_only")
# What a client may name besides types of events.
GROUPS: dict[str, frozenset[str]] = {
    "security_alerts": frozenset({"security_alert", "security_emergency_broadcast", "critical_failure_broadcast"}),
    # The client's own tasks, which always come at once: the name is known so that it can be said.
    "assigned_tasks": frozenset(),
    "status_updates": frozenset(
        {
            "agent_presence", "agent_registered", "sidebar_status_update", "sidebar_waiting_update", "state_updated",
            "session_paused", "session_resumed", "action_logged", "response_logged",
        }
    ),
    "general_memory": frozenset(
        {"memory_update", "memory_forgotten", "conversation_chunk_added", "artifact_added", "llm_conversation_insight"}
    ),
}  # fmt: skip
DEFAULT_REQUIRED = ("security_alerts", "assigned_tasks")
DEFAULT_BATCHABLE = ("status_updates", "general_memory")

MAX_NAMES = 50
_NAME = re.compile(r"[a-z][a-z0-9_]{0,99}")
# Events looked into whose findings are kept: all connections get an event before the next one.
_KEPT = 1024


class _Task(msgspec.Struct, gc=False):
    agent_name: str = ""


class _WithTask(msgspec.Struct, gc=False):
    task: _Task


class _Memory(msgspec.Struct, gc=False):
    session_id: str
    key: str


class _WithMemory(msgspec.Struct, gc=False):
    exchange: _Memory


class Contents:
    """What must be looked for within events, found once for all connections."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str], str | tuple[str, str] | None] = {}
        self._task = msgspec.json.Decoder(_WithTask)
        self._memory = msgspec.json.Decoder(_WithMemory)

    def task_agent(self, frame: Frame) -> str | None:
        """Whose task an event is about; None when it is about none."""
        found = self._look(frame) if frame.type.startswith("task_") else None
        return found if isinstance(found, str) else None

    def memory_key(self, frame: Frame) -> tuple[str, str] | None:
        """Session and key of the memory an update is about; None when the event is no such update."""
        found = self._look(frame) if frame.type == "memory_update" else None
        return found if isinstance(found, tuple) else None

    def _look(self, frame: Frame) -> str | tuple[str, str] | None:
        name = frame.cursor, frame.message_id
        if name in self._found:
            return self._found[name]
        found: str | tuple[str, str] | None
        try:
            if frame.type == "memory_update":
                memory = self._memory.decode(frame.text).exchange
                found = memory.session_id, memory.key
            else:
                found = self._task.decode(frame.text).task.agent_name
        except (msgspec.MsgspecError, ValueError, RecursionError):
            found = None
        if len(self._found) >= _KEPT:
            self._found.clear()
        self._found[name] = found
        return found


@dataclass(frozen=True, slots=True)
class Wishes:
    """A client's preference, and the types it names; `mentioned` is the topic under which it is mentioned."""

    agent_id: str
    mentioned: str
    contents: Contents
    preference: str | None = None
    required: frozenset[str] = frozenset()
    batchable: frozenset[str] = frozenset()

    def come_at_once(self, frame: Frame) -> bool:
        """Whether an event is never held back: critical, required, a mention of the client, or its own task."""
        return (
            frame.rank == CRITICAL
            or frame.type in self.required
            or frame.routing_key == self.mentioned
            or self.contents.task_agent(frame) == self.agent_id
        )


def wishes_of(agent_id: str, request: Taste | None, before: Wishes | None, contents: Contents) -> Wishes:
    """What a client wishes for after `request`; what that leaves out stays as before. Raises `Rejected("invalid")`."""
    required = before.required if before else _types("required_data", DEFAULT_REQUIRED)
    batchable = before.batchable if before else _types("batchable_data", DEFAULT_BATCHABLE)
    preference = before.preference if before else None
    if request is not None:
        preference = request.slow_connection_preference or preference
        if request.required_data is not None:
            required = _types("required_data", request.required_data)
        if request.batchable_data is not None:
            batchable = _types("batchable_data", request.batchable_data)
    return Wishes(agent_id, f"agent.{topic_word(agent_id)}.mentioned", contents, preference, required, batchable)


def _types(field: str, names: "list[str] | tuple[str, ...]") -> frozenset[str]:
    if len(names) > MAX_NAMES:
        raise invalid(f"`{field}` names {len(names)} types; at most {MAX_NAMES}")
    for name in names:
        if not _NAME.fullmatch(name):
            raise invalid(
                f"`{field}`: {name[:100]!r} is no type of an event, nor one of the groups {', '.join(GROUPS)}"
            )
    return frozenset(kind for name in names for kind in GROUPS.get(name, (name,)))
