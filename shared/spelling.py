"""Names in snake_case and in camelCase: what our own are, and what the session API's users and files write; pure."""

import re

_CAPITAL = re.compile(r"(?<=[a-z0-9])[A-Z]")
_UNDERSCORE = re.compile(r"_([a-z0-9])")


def snake(name: str) -> str:
    """`sessionId` → `session_id`; a name in snake_case stays as it is."""
    return _CAPITAL.sub(lambda found: f"_{found[0].lower()}", name)


def camel(name: str) -> str:
    """`session_id` → `sessionId`."""
    return _UNDERSCORE.sub(lambda found: found[1].upper(), name)
