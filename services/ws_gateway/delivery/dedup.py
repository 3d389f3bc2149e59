"""Duplicates: what a client has said already, and statuses that were told already. Free of I/O.

A message with an id is the same again when its id is; a status (`agent_presence`) when it says what the last one said.
Only the last one counts: online, working, online are three changes, however quickly they follow each other.
"""

import hashlib
from datetime import datetime

import msgspec

from services.ws_gateway.requests import Presence, Request
from services.ws_gateway.stream.frames import Frame, message
from shared.messages.json_text import slices

MESSAGE_SECONDS = 300.0
STATUS_SECONDS = 30.0
# Of one connection; the oldest is forgotten before its time when there are more.
REMEMBERED_IDS = 1024
# Of all agents together.
REMEMBERED_STATUSES = 10_000

STATUS_TYPES = frozenset({"agent_presence"})
_SAME_MESSAGE = "this message_id was received before; nothing was done again"
_SAME_STATUS = "the same status was received before; nothing was done again"
# What differs between two messages that say the same.
_ENVELOPE = ("message_id", "timestamp", "sender_agent_id", "correlation_id", "session_seq", "hops", "traceparent")


class Heard:
    """What one client has said lately. An idle client's holds nothing."""

    __slots__ = ("_ids", "_status")

    def __init__(self) -> None:
        self._ids: dict[str, float] | None = None
        # The last status: its content, its id, when.
        self._status: tuple[bytes, str | None, float] | None = None

    def note(self, request: Request, now: float) -> bytes | None:
        """Remember a message that came at `now` (seconds, monotonic).

        Returns the `duplicate_ack` to answer with, if it was there before.
        """
        named = request.message_id
        if named is not None:
            ids = self._ids
            if ids is None:
                ids = self._ids = {}
            self._expire(ids, now)
            if named in ids:
                return message("duplicate_ack", original_message_id=named, message=_SAME_MESSAGE)
            ids[named] = now
            if len(ids) > REMEMBERED_IDS:
                del ids[next(iter(ids))]
        if isinstance(request, Presence):
            content, last = _digest_of_request(request), self._status
            if last is not None and last[0] == content and now - last[2] < STATUS_SECONDS:
                return message("duplicate_ack", original_message_id=last[1], message=_SAME_STATUS)
            self._status = content, named, now
        return None

    def forget(self, message_id: str | None) -> None:
        """Let this id be used again: nothing came of its message."""
        if self._ids is not None and message_id is not None:
            self._ids.pop(message_id, None)

    def forget_status(self) -> None:
        """Let the last status be said again: it was refused."""
        self._status = None

    def sweep(self, now: float) -> None:
        """Give back the memory of what is too old; to be called now and then."""
        if self._ids is not None:
            self._expire(self._ids, now)
            if not self._ids:
                self._ids = None
        if self._status is not None and now - self._status[2] >= STATUS_SECONDS:
            self._status = None

    @staticmethod
    def _expire(ids: dict[str, float], now: float) -> None:
        old = []
        for message_id, at in ids.items():
            if now - at < MESSAGE_SECONDS:
                break
            old.append(message_id)
        for message_id in old:
            del ids[message_id]


def _digest_of_request(request: Presence) -> bytes:
    plain = Presence(
        agent_id=request.agent_id, status=request.status, current_context=request.current_context,
        active_sidebars=request.active_sidebars, specialties=request.specialties,
        session_id=request.session_id, sidebar_id=request.sidebar_id,
    )  # fmt: skip
    return hashlib.blake2b(msgspec.json.encode(plain), digest_size=16).digest()


class _Stamped(msgspec.Struct, gc=False):
    timestamp: datetime


_STAMPED = msgspec.json.Decoder(_Stamped)


class Statuses:
    """The last status told of each agent, by which a repeated one is known.

    Times are those of the events, not of their arrival, so that every replica leaves out the same, now and when it
    reads the log anew.
    """

    def __init__(self, window: float = STATUS_SECONDS) -> None:
        self._window = window
        self._last: dict[str, tuple[bytes, float]] = {}

    def is_repeated(self, frame: Frame) -> bool:
        """Whether this status says what its agent's last one said within the window; remembers it if not."""
        try:
            at = _STAMPED.decode(frame.text).timestamp.timestamp()
            members = slices(frame.text)
        except (ValueError, msgspec.MsgspecError):
            return False
        for name in (*_ENVELOPE, "cursor"):
            members.pop(name, None)
        digest = hashlib.blake2b(digest_size=16)
        for name in sorted(members):
            digest.update(b"%b:%b," % (name.encode(), bytes(members[name])))
        content = digest.digest()
        last = self._last.get(frame.routing_key)
        if last is not None and last[0] == content and abs(at - last[1]) < self._window:
            return True
        self._last.pop(frame.routing_key, None)
        self._last[frame.routing_key] = content, at
        if len(self._last) > REMEMBERED_STATUSES:
            del self._last[next(iter(self._last))]
        return False
