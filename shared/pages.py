"""Pages of lists: an opaque cursor holds the sort key of a page's last row, so that no page is counted through."""

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


def cursor_after(*key: str | float | datetime) -> str:
    """The cursor that goes on after the row with this sort key."""
    plain = [rfc3339(part) if isinstance(part, datetime) else part for part in key]
    return urlsafe_b64encode(orjson.dumps(plain)).rstrip(b"=").decode()


def sort_key(cursor: str | None, *kinds: type) -> Any:
    """The sort key in a cursor, a tuple of these types (`datetime`, `str`, `int`, `float`); None without a cursor.

    Raises `Rejected("invalid")` for a cursor that no list of this kind gave.
    """
    if cursor is None:
        return None
    try:
        text = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        parts = orjson.loads(text)
        if isinstance(parts, list) and b"\\u0000" not in text:
            return tuple(_part(part, kind) for part, kind in zip(parts, kinds, strict=True))
    except ValueError:
        pass  # said below
    raise invalid("`cursor` is not one that this list gave as `next`", cursor=cursor)


def _part(part: object, kind: type) -> object:
    if kind is datetime and isinstance(part, str):
        moment = datetime.fromisoformat(part)
        if moment.tzinfo is None:
            raise ValueError(part)
        return moment
    # Exactly: a boolean is an int to Python.
    if type(part) is not kind:
        raise ValueError(part)
    # No 64-bit column is compared with more.
    if isinstance(part, int) and not -(2**63) <= part < 2**63:
        raise ValueError(part)
    return part
