"""Errors named for the reaction they demand.

SwitchyardError
├── Rejected        a rule said no: reply with the code, acknowledge, never retry
├── Transient       a dependency stumbled: try the same message again later
└── BusError
    ├── Unavailable     the broker is away or refuses work: nothing was published
    ├── Unconfirmed     published, but the confirm did not come: retry with the same message id
    └── Unroutable      no queue took the message: a fault of topology, not of the message
"""

from typing import Any, Literal, get_args

ErrorCode = Literal[
    "invalid",
    "unauthorized",
    "forbidden",
    "not_found",
    "conflict",
    "too_large",
    "rate_limited",
    "loop",
    "unavailable",
    "timeout",
    "internal",
]
ERROR_CODES: tuple[ErrorCode, ...] = get_args(ErrorCode)


class SwitchyardError(Exception):
    """The root of every error this project raises on purpose."""


class Rejected(SwitchyardError):
    """A rule said no. Carries the error of the reply: a code, a sentence for a person, and details for a program."""

    def __init__(self, code: ErrorCode, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details

    def as_error(self) -> dict[str, Any]:
        """The `error` object of a reply: `{"code", "message", "details"}`."""
        return {"code": self.code, "message": self.message, "details": self.details}


class Transient(SwitchyardError):
    """A dependency stumbled; the same message may succeed after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BusError(SwitchyardError):
    """The broker did not take a message."""


class Unavailable(BusError):
    """The broker is away, blocked or refused the message: it was certainly not kept."""


class Unconfirmed(BusError):
    """The connection was lost, or time ran out, before the confirm: the message may or may not have been kept."""


class Unroutable(BusError):
    """No queue was bound for the message's routing key."""


def invalid(message: str, **details: Any) -> Rejected:
    """What was sent is not a message this project knows, or a field of it is wrong."""
    return Rejected("invalid", message, **details)


def not_found(noun: str, identifier: str) -> Rejected:
    """There is no such thing."""
    return Rejected("not_found", f"{noun} {identifier!r} does not exist", **{f"{noun}_id": identifier})


def conflict(message: str, **details: Any) -> Rejected:
    """The thing exists, but its state does not allow this."""
    return Rejected("conflict", message, **details)
