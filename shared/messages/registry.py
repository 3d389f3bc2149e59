"""The decorator that enters a command into the registry."""

import re
from collections.abc import Callable
from typing import Any, TypeVar

from shared.messages.commands import COMMANDS, CommandData, CommandSpec
from shared.messages.envelope import Scope
from shared.messages.json_text import JsonText

Data = TypeVar("Data", bound=CommandData)


def command(
    area: str,
    *,
    result: dict[str, Any],
    reads: bool = False,
    creates: bool = False,
    public: bool = True,
    scope: Scope | None = None,
    example: dict[str, Any] | None = None,
    needs_session: bool | None = None,
    destructive: bool = False,
    idempotent: bool | None = None,
    confidential: bool = False,
) -> Callable[[type[Data]], type[Data]]:
    """Declare a command: the class below becomes the fields of its `data`, its name in snake_case the command's name.

    `scope` is what a key needs to run it, by default `read` or `publish` as the command reads or writes. `example` is
    `data` as somebody might send it. `needs_session` says that the worker runtime locks the session named in `data` and
    refuses a missing or closed one; by default true for every writing command that has a `session_id`. `destructive`
    says that it takes away what can't be had back, `idempotent` (by default of reading commands only) that doing it
    again with the same data changes nothing more. `confidential` says that its reply may hold what only its sender and
    admins may see: whoever else asks what became of it is refused.
    """

    def enter(data: type[Data]) -> type[Data]:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", data.__name__).lower()
        if name in COMMANDS:
            raise ValueError(f"the command {name!r} is declared twice")
        has_session = "session_id" in data.model_fields
        COMMANDS[name] = CommandSpec(
            name=name,
            area=area,
            data=data,
            result=result,
            reads=reads,
            creates=creates,
            public=public,
            scope=scope or ("read" if reads else "publish"),
            example=example or {},
            needs_session=(has_session and not reads) if needs_session is None else needs_session,
            destructive=destructive,
            idempotent=reads if idempotent is None else idempotent,
            confidential=confidential,
            verbatim=frozenset(k for k, field in data.model_fields.items() if _holds_json_text(field.annotation)),
        )
        return data

    return enter


def _holds_json_text(annotation: Any) -> bool:
    return annotation is JsonText or JsonText in getattr(annotation, "__args__", ())
