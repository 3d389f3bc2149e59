"""Memories: keys, versions and what guards them; pure."""

import secrets
from base64 import b32encode
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from services.memory_worker import recalled
from shared.errors import Rejected, conflict, invalid
from shared.messages import Command, JsonText, rfc3339
from shared.messages.memory import Forgotten, Memory, MemoryType, StoreMemory

Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Draft:
    """A memory to be stored; `at` is its place in the batch. Its fields are those of the statements that store it."""

    at: int
    session_id: str
    key: str
    type: MemoryType
    # JSON as text. Within JSON it would keep its text too, but for a string, whose escapes PostgreSQL writes anew.
    content: str
    tags: list[str]
    author: str
    message_id: str
    if_version: int | None
    key_made: bool
    # Of what the content says, to recognise it when it comes back; None when there is nothing to recognise.
    content_hash: int | None

    @property
    def place(self) -> Place:
        """Where the memory is kept: its session and its key."""
        return self.session_id, self.key

    @property
    def may_be_first(self) -> bool:
        """Whether the guard allows that there is no such memory yet."""
        return not self.if_version


def draft(at: int, command: Command) -> Draft:
    """What a `store_memory` asks to be stored, under a key of its own making when it names none."""
    data: StoreMemory = command.data
    said = recalled.says(data.content)
    return Draft(
        at,
        data.session_id,
        data.key or make_key(data.type),
        data.type,
        str(data.content),
        data.tags,
        command.sender_agent_id,
        command.message_id,
        data.if_version,
        data.key is None,
        None if said is None else recalled.content_hash(data.session_id, said),
    )


def cause_of(command: Command) -> dict[str, Any]:
    """What the event of a command is stamped with, for one that is told later."""
    return {
        "sender_agent_id": command.sender_agent_id,
        "correlation_id": command.message_id,
        "priority": command.priority,
        "hops": command.hops,
        "trust": command.trust,
        "traceparent": command.traceparent or None,
    }


def repeats(draft: Draft, memory: Memory) -> bool:
    """Whether a draft without a key only says what a memory in force says already."""
    return recalled.says(JsonText(draft.content.encode())) == recalled.says(memory.content)


def make_key(type: MemoryType) -> str:
    """A key that can be read and said, such as `decision-7k3qx2ma`."""
    return f"{type}-{b32encode(secrets.token_bytes(5)).decode().lower()}"


def with_another_key(draft: Draft) -> Draft:
    """The draft under another key of our making, when the first is taken."""
    return replace(draft, key=make_key(draft.type))


def split_repeated(drafts: Iterable[Draft]) -> tuple[list[Draft], list[Draft]]:
    """The first draft for each key, which one statement can store, and the rest, which make later versions."""
    first: dict[Place, Draft] = {}
    later = [draft for draft in drafts if first.setdefault((draft.session_id, draft.key), draft) is not draft]
    return list(first.values()), later


def stored(draft: Draft, version: int, created: str, updated: str) -> Memory:
    """The memory as it now is."""
    # Validating it costs less than `model_construct`, which is plain Python.
    return Memory(
        session_id=draft.session_id,
        key=draft.key,
        type=draft.type,
        content=JsonText(draft.content.encode()),
        tags=draft.tags,
        version=version,
        author=draft.author,
        message_id=draft.message_id,
        replaces=replaced_by(version),
        created=created,
        updated=updated,
    )


def replaced_by(version: int) -> int | None:
    """The version that a version took the place of; None for a first."""
    return version - 1 or None


def guarded(draft: Draft, version: int) -> Rejected:
    """The refusal of a draft whose `if_version` is not the version that stands; 0: there is no such memory."""
    state = f"is at version {version}" if version else "does not exist"
    return conflict(
        f"memory {draft.key!r} {state}, and `if_version` is {draft.if_version}",
        key=draft.key,
        version=version,
        if_version=draft.if_version,
    )


def missing(
    session_id: str, key: str, as_of: datetime | None, *, session_exists: bool, forgotten: Forgotten | None = None
) -> Rejected:
    """Why there is nothing to retrieve: no such session, no such key in it, not yet at that moment, or forgotten."""
    if not session_exists:
        return Rejected("not_found", f"session {session_id!r} does not exist", session_id=session_id)
    if forgotten is not None:
        why = f": {forgotten.reason}" if forgotten.reason else ""
        return Rejected(
            "not_found",
            f"memory {key!r} of session {session_id!r} was forgotten at {forgotten.at} by {forgotten.by!r}{why}",
            session_id=session_id,
            key=key,
            forgotten=forgotten.model_dump(),
        )
    then = f" at {rfc3339(as_of)}" if as_of else ""
    return Rejected("not_found", f"session {session_id!r} has no memory {key!r}{then}", session_id=session_id, key=key)


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 moment, cut to microseconds. Raises `Rejected("invalid")` for an impossible one."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise invalid(f"`as_of` is not a moment: {error}", as_of=text) from None
