"""What can go wrong between a program and a Switchyard.

    SwitchyardError
    ├── CommandRefused       the answer to a command is an error
    └── ConnectionRefused    the gateway does not let us in, and asking again would not help

A connection that breaks is no error: it is made anew, and what was under way is sent again.
"""

from collections.abc import Mapping
from typing import Any


class SwitchyardError(Exception):
    """Anything a Switchyard has against what was asked."""


class CommandRefused(SwitchyardError):
    """A command's answer is an error: `code` is one of `invalid`, `not_found`, `conflict` and so on."""

    def __init__(self, code: str, message: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.details = dict(details or {})


class ConnectionRefused(SwitchyardError):
    """The gateway turned us away for good: a bad token (4401), or something that is not allowed (4403)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{reason} (close code {code})" if code else reason)
        self.code = code
