"""The kinds of messages a load sends: what each asks for, how its effect shows in the database, which event tells it.

Each message is told apart by its id, which stands in what it makes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, LiteralString, NamedTuple

# Registered by the load itself: nobody else works for it.
AGENT = "load"
# The keys that `store_version` writes to, again and again.
SHARED_KEYS = ("shared-0", "shared-1", "shared-2")


class Message(NamedTuple):
    """A message to send, always as the same request."""

    kind: str
    message_id: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Kind:
    """A kind of message."""

    # The statement gives (message id, number of effects) for those of some messages that had any.
    effects: LiteralString
    # The event that tells of it; None when there is none of its own.
    told_by: str | None = None
    # The command and its data, of a session and a message id; None: a webhook.
    command: str | None = None
    data: Callable[[str, str], dict[str, Any]] | None = None
    # Whether whoever sends it asks to be called back with the reply.
    calls_back: bool = False
    # The status of its refusal when it is one that must be refused.
    refused: int | None = None
    # Its rows of the audit log.
    audited: int = 1


def _task(message_id: str, **more: Any) -> dict[str, Any]:
    return {"agent_name": AGENT, "task_type": "t", "input_data": {"id": message_id}, **more}


def _memory(key: str, message_id: str) -> dict[str, Any]:
    return {"type": "fact", "key": key, "content": {"id": message_id}}


def _batch(session_id: str, message_id: str, **of_task: Any) -> dict[str, Any]:
    """A batch that leaves its id in three areas; `of_task` can make its last part one that is refused."""
    parts = {
        "log_action": {"action_id": message_id, "type": "t"},
        "store_memory": _memory(message_id, message_id),
        "delegate_task": _task(message_id, **of_task),
    }
    return {"commands": [{"command": name, "data": {"session_id": session_id, **data}} for name, data in parts.items()]}


KINDS: dict[str, Kind] = {
    "webhook": Kind("select message_id, count(*) from deliveries where message_id = any(%s) group by 1", "webhook"),
    "conversation_chunk": Kind(
        "select message_id, count(*) from conversation_chunks where message_id = any(%s) group by 1",
        "conversation_chunk_added",
        "conversation_chunk",
        lambda session_id, message_id: {"content": f"we decided to send {message_id}"},
    ),
    "store_memory": Kind(
        "select message_id, max(version) from memories where message_id = any(%s) group by 1",
        "memory_update",
        "store_memory",
        lambda session_id, message_id: _memory(message_id, message_id),
    ),
    # Told together with others; `invariants` counts the versions told.
    "store_version": Kind(
        "select message_id, count(*) from (select message_id from memories union all"
        " select message_id from memory_versions) as version where message_id = any(%s) group by 1",
        None,
        "store_memory",
        lambda session_id, message_id: _memory(SHARED_KEYS[int(message_id[-1], 16) % 3], message_id),
    ),
    "delegate_task": Kind(
        "select input_data->>'id', count(*) from tasks where input_data->>'id' = any(%s) group by 1",
        "task_created",
        "delegate_task",
        lambda session_id, message_id: _task(message_id),
    ),
    "log_action": Kind(
        "select message_id, count(*) from actions where message_id = any(%s) group by 1",
        "action_logged",
        "log_action",
        lambda session_id, message_id: {"type": "t", "details": {"id": message_id}},
    ),
    "log_response": Kind(
        "select message_id, count(*) from responses where message_id = any(%s) group by 1",
        "response_logged",
        "log_response",
        lambda session_id, message_id: {"action_id": message_id, "content": {"id": message_id}},
    ),
    "update_state": Kind(
        "select member, count(*) from session_states, json_object_keys(members) as member"
        " where member = any(%s) group by 1",
        "state_updated",
        "update_state",
        lambda session_id, message_id: {"patch": {message_id: 1}},
    ),
    "add_goal": Kind(
        "select goal_id, count(*) from session_goals where goal_id = any(%s) group by 1",
        "goal_added",
        "add_goal",
        lambda session_id, message_id: {"goal_id": message_id, "description": "arrive"},
        calls_back=True,
    ),
    # A part of a batch would show as more or less than one effect.
    "batch": Kind(
        "select id, case count(*) when 3 then 1 else count(*) * 100 end from ("
        " select action_id as id from actions union all select key from memories"
        " union all select input_data->>'id' from tasks"
        ") as part where id = any(%s) group by 1",
        "action_logged",
        "batch",
        _batch,
        audited=4,
    ),
    # Its effect is its refusal, and a part of it that is done after all counts as more.
    "undone_batch": Kind(
        "select handled.message_id, count(*) + 100 * ("
        " (select count(*) from actions where action_id = handled.message_id)"
        " + (select count(*) from memories where key = handled.message_id)"
        " + (select count(*) from tasks where input_data->>'id' = handled.message_id))"
        " from handled_messages as handled where message_id = any(%s) group by 1",
        None,
        "batch",
        lambda session_id, message_id: _batch(session_id, message_id, agent_name="nobody"),
        calls_back=True,
        refused=404,
    ),
    "create_key": Kind(
        "select name, count(*) from api_keys where name = any(%s) group by 1",
        "key_changed",
        "create_key",
        lambda session_id, message_id: {"name": message_id, "scopes": ["read"]},
    ),
}
# Those about no session, or about several that their parts name.
WITHOUT_SESSION = ("batch", "create_key")
