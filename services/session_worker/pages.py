"""Cursors of lists: the sort key of a page's last row, opaque to the caller."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import Any, TypeVar

import orjson

from shared.errors import invalid
from shared.messages import rfc3339

Row = TypeVar("Row")


def page_of(rows: list[Row], limit: int) -> tuple[list[Row], Row | None]:
    """Of up to `limit` + 1 rows read: the page, and its last row if another page follows."""
    return (rows[:limit], rows[limit - 1]) if len(rows) > limit else (rows, None)


def cursor_after(*key: str | int | datetime) -> str:
    """The cursor that goes on after the row with this sort key."""
    plain = [rfc3339(part) if isinstance(part, datetime) else part for part in key]
    return urlsafe_b64encode(orjson.dumps(plain)).rstrip(b"=").decode()


def moment_and_id(cursor: str | None) -> tuple[datetime, str] | None:
    """The sort key in a cursor of a list by moment and id. Raises `Rejected("invalid")`."""
    if cursor is None:
        return None
    try:
        match _decoded(cursor):
            case [str(moment), str(identifier)] if (after := datetime.fromisoformat(moment)).tzinfo is not None:
                return after, identifier
    except ValueError:
        pass
    raise _not_a_cursor(cursor)


def number(cursor: str | None) -> int | None:
    """The sort key in a cursor of a list by number. Raises `Rejected("invalid")`."""
    if cursor is None:
        return None
    try:
        match _decoded(cursor):
            case [int(value)] if -(2**63) <= value < 2**63:
                return value
    except ValueError:
        pass
    raise _not_a_cursor(cursor)


def _decoded(cursor: str) -> list[Any]:
    key = orjson.loads(urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    if not isinstance(key, list) or b"\\u0000" in orjson.dumps(key):
        raise ValueError
    return key


def _not_a_cursor(cursor: str) -> Exception:
    return invalid("`cursor` is not one that a list gave as `next`", cursor=cursor)
