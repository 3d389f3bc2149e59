"""What handlers are to the worker runtime, and what they answer."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.bus.callbacks import CallbackOwed
from shared.bus.follow_ups import FollowUp
from shared.bus.parking import Wait, Wake
from shared.database import Transaction
from shared.errors import Rejected, SwitchyardError
from shared.messages import Command, Event, encode


@dataclass(slots=True)
class Reply:
    """What a handler answers: the result, the events, what to add to its session's counters, and the callbacks owed."""

    result: dict[str, Any]
    events: list[Event] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    # The same for sessions that the command does not name, by their ids.
    counts_elsewhere: dict[str, dict[str, int]] = field(default_factory=dict)
    callbacks: list[CallbackOwed] = field(default_factory=list)
    # What is to be done next, by whichever worker does such things; sent with the events, or not at all.
    commands: list[FollowUp] = field(default_factory=list)
    # What a batch did: its commands, each with its reply.
    parts: list[tuple[Command, "Reply"]] = field(default_factory=list)
    # Whether the events say already what caused them, having waited since another command.
    stamped: bool = False
    # There is nothing yet, and the sender would rather wait: the answer is given later, or this one in the end.
    wait: Wait | None = None
    # Whom this gives something that he waits for.
    wakes: list[Wake] = field(default_factory=list)


Handler = Callable[[Transaction, Command], Awaitable[Reply]]
BatchHandler = Callable[[Transaction, list[Command]], Awaitable[Sequence["Reply | Rejected | SessionMissing"]]]


def error_reply(error: Rejected) -> bytes:
    """The reply that refuses a command."""
    return encode({"ok": False, "error": error.as_error()})


class SessionMissing(SwitchyardError):
    """A command's session or sidebar does not exist (yet); `refusal` is what it gets when nobody waits any longer."""

    def __init__(self, refusal: Rejected) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


class Undone(SwitchyardError):
    """One of several commands that happen as a whole was not done, for this reason."""

    def __init__(self, index: int, reason: "Rejected | SessionMissing") -> None:
        super().__init__(str(reason))
        self.index = index
        self.reason = reason
