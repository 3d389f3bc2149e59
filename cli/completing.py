"""Completing what other programs have written of sessions: their names and forms become those of records; pure."""

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import get_args

import msgspec
from msgspec import Raw

from cli.records import Members, Record, members_of, raw, value_of
from shared.messages import rfc3339
from shared.messages.envelope import Model
from shared.messages.session import SessionStatus
from shared.messages.state import GoalPriority, GoalStatus
from shared.messages.transfer import ActionRecord, AgentRecord, GoalRecord, ResponseRecord, SessionRecord
from shared.spelling import camel, snake

# Ids of things that came without one are made of what they are, so that they are the same each time.
_MADE = uuid.UUID("3f5d1c0e-55a5-5e0a-9f7e-4b0d7a1c2e88")
# Names other programs have for what we keep; the first that is there counts.
_OTHER_NAMES = {
    "created": ("created_at", "started_at", "start_time", "timestamp"),
    "last_activity": ("last_updated", "updated_at", "updated", "end_time"),
    "action_id": ("id",),
    "response_id": ("id",),
    "goal_id": ("id",),
    "agent_id": ("id",),
    "session_id": ("id",),
}
NULL = Raw(b"null")


def session_of(metadata: Members, counted: Mapping[str, int], began: str, ended: str) -> Members:
    """The record of a session; of `metadata` what has no place in it is kept in `initial`."""
    known: Members = {}
    for name in SessionRecord.model_fields:
        given = metadata.pop(name, None)
        known[name] = NULL if given is None else given
    for other in (*_OTHER_NAMES["created"], *_OTHER_NAMES["last_activity"]):
        if other in metadata and moment(metadata[other]) in (began, ended):
            del metadata[other]
    known |= {"created": raw(began), "last_activity": raw(ended)}
    status = value_of(known["status"])
    if status not in get_args(SessionStatus):
        if status is not None:
            metadata["status"] = known["status"]
        known["status"] = raw("active")
    participants = value_of(known["participants"])
    if not isinstance(participants, list) or not all(isinstance(each, str) for each in participants):
        if participants is not None:
            metadata["participants"] = known["participants"]
        known["participants"] = raw([])
    for name in ("title", "user_id"):
        if not isinstance(value_of(known[name]), str | None):
            metadata[name], known[name] = known[name], NULL
    for name, count in {**counted, "seq": 0}.items():
        if known[name] == NULL or not isinstance(value_of(known[name]), int):
            known[name] = raw(count)
    if metadata:
        initial = object_of(known["initial"])
        kept = {} if known["initial"] == NULL else initial if initial is not None else {"initial": known["initial"]}
        known["initial"] = raw({**kept, **{camel(name): value for name, value in metadata.items()}})
    return known


def state_of(members: Members, record: Members | None, ended: str, parts: int) -> Members:
    """The record of a state with these members; `record` is what our own folders have of it besides."""
    if record is not None:
        kept = snaked(record)
        untouched = value_of(kept.pop("untouched", None))
        return {"members": NULL if untouched else raw(members), **kept}
    return {"members": raw(members), "version": raw(1), "parts_size": raw(parts), "updated": raw(ended)}


def goal_of(goal: Members, began: str) -> Members:
    """The record of a goal; `began` is its moment when it has none."""
    given = {name: goal.get(name, NULL) for name in GoalRecord.model_fields}
    created = moment(given["created"]) or began
    given |= {"created": raw(created), "updated": raw(moment(given["updated"]) or created)}
    return given | {
        "description": _text(given["description"], ""),
        "status": _one_of(given["status"], get_args(GoalStatus), "pending"),
        "priority": _one_of(given["priority"], get_args(GoalPriority), "medium"),
    }


def agent_of(agent: Members, began: str) -> Members:
    """The record of a spawned agent; `began` is its moment when it has none."""
    given = {name: agent.get(name, NULL) for name in AgentRecord.model_fields}
    completed = moment(given["completed"])
    return given | {
        "type": _text(given["type"], "agent"),
        "status": _one_of(given["status"], ("active", "completed", "failed"), "active"),
        "spawned_by": _text(given["spawned_by"], "anonymous"),
        "created": raw(moment(given["created"]) or began),
        "completed": raw(completed),
    }


def part_of(model: type[Model], text: Raw, rest: str) -> Members:
    """A part of a session with the names of its record; what it has besides is gathered in `rest`."""
    given = {snake(name): value for name, value in members_of(text).items()}
    known = {name: given.pop(name) for name in model.model_fields if name in given}
    identifier = next(iter(model.model_fields))
    if identifier not in known:
        known[identifier] = first(given, identifier) or raw(str(uuid.uuid5(_MADE, bytes(text).decode())))
        for name in _OTHER_NAMES[identifier]:
            given.pop(name, None)
    if not isinstance(value_of(known[identifier]), str):
        known[identifier] = raw(bytes(known[identifier]).decode())
    given.pop("session_id", None)
    if given:
        own = object_of(known.get(rest))
        kept = own if own is not None else {rest: known[rest]} if known.get(rest, NULL) != NULL else {}
        known[rest] = raw({**kept, **{camel(name): value for name, value in given.items()}})
    return known


def number(events: list[Record], began: str) -> None:
    """Complete actions and responses; those without a number get the next ones, in the order of their moments."""
    for _, members in events:
        members["timestamp"] = raw(moment(members.get("timestamp")) or began)
    taken = [value_of(members["number"]) for _, members in events if "number" in members]
    following = max((each for each in taken if isinstance(each, int)), default=0)
    for _, members in sorted(events, key=lambda each: str(value_of(each.members["timestamp"]))):
        if "number" not in members:
            following += 1
            members["number"] = raw(following)
    for kind, members in events:
        model: type[Model] = ActionRecord if kind == "action" else ResponseRecord
        filled = {
            "type": _text(members.get("type", NULL), kind),
            "author": _text(members.get("author", NULL), "anonymous"),
            "message_id": _text(members.get("message_id", NULL), "imported"),
            "created": members.get("created", members["timestamp"]),
        }
        members |= filled
        ordered = {name: members.get(name, NULL) for name in model.model_fields}
        members.clear()
        members |= ordered


def first(members: Members, name: str) -> Raw | None:
    """A member under its own name or another program's."""
    return next((members[each] for each in (name, *_OTHER_NAMES.get(name, ())) if each in members), None)


def moment(value: Raw | None) -> str | None:
    """A moment as records write it, of text or of milliseconds since 1970; None for anything else."""
    said = value_of(value)
    try:
        if isinstance(said, str):
            when = datetime.fromisoformat(said)
        elif isinstance(said, int | float) and not isinstance(said, bool):
            when = datetime.fromtimestamp(said / 1000, UTC)
        else:
            return None
        return rfc3339((when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(UTC))
    except (ValueError, OverflowError, OSError):
        return None


def object_of(value: Raw | None) -> Members | None:
    """The members of what is an object; None for anything else."""
    try:
        return None if value is None else members_of(value)
    except msgspec.DecodeError:
        return None


def _text(value: Raw, otherwise: str) -> Raw:
    return value if isinstance(value_of(value), str) else raw(otherwise)


def _one_of(value: Raw, allowed: tuple[str, ...], otherwise: str) -> Raw:
    return value if value_of(value) in allowed else raw(otherwise)


def camelled(members: Members) -> Members:
    """Members under names in camelCase."""
    return {camel(name): value for name, value in members.items()}


def snaked(members: Members) -> Members:
    """Members under names in snake_case."""
    return {snake(name): value for name, value in members.items()}
