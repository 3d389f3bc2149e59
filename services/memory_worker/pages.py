"""Cursors of lists: the sort key of a page's last row, opaque to the caller."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import TypeVar

import orjson

from shared.errors import Rejected, invalid
from shared.messages import rfc3339

Row = TypeVar("Row")


def page_of(rows: list[Row], limit: int) -> tuple[list[Row], Row | None]:
    """Of up to `limit` + 1 rows read: the page, and its last row if another page follows."""
    return (rows[:limit], rows[limit - 1]) if len(rows) > limit else (rows, None)


def cursor_after(*key: str | float | datetime) -> str:
    """The cursor that goes on after the row with this sort key."""
    plain = [rfc3339(part) if isinstance(part, datetime) else part for part in key]
    return urlsafe_b64encode(orjson.dumps(plain)).rstrip(b"=").decode()


def by_time(cursor: str | None) -> tuple[datetime, str, str] | None:
    """The sort key in a cursor of a list by time. Raises `Rejected("invalid")`."""
    if cursor is None:
        return None
    match _decoded(cursor):
        case [str(moment), str(session_id), str(key)]:
            return _moment(moment, cursor), session_id, key
    raise _not_a_cursor(cursor)


def by_rank(cursor: str | None) -> tuple[float, datetime, str, str] | None:
    """The sort key in a cursor of a list by rank. Raises `Rejected("invalid")`."""
    if cursor is None:
        return None
    match _decoded(cursor):
        case [float(rank), str(moment), str(session_id), str(key)]:
            return rank, _moment(moment, cursor), session_id, key
    raise _not_a_cursor(cursor)


def _decoded(cursor: str) -> object:
    try:
        text = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        return None if b"\\u0000" in text else orjson.loads(text)
    except ValueError:
        raise _not_a_cursor(cursor) from None


def _moment(text: str, cursor: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise _not_a_cursor(cursor) from None
    if moment.tzinfo is None:
        raise _not_a_cursor(cursor)
    return moment


def _not_a_cursor(cursor: str) -> Rejected:
    return invalid("`cursor` is not one that this list gave as `next`", cursor=cursor)
