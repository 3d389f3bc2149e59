"""Cursors of lists: the sort key of a page's last row, opaque to the caller."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import datetime
from typing import TypeVar

import orjson

from shared.errors import invalid

Row = TypeVar("Row")


def page_of(rows: list[Row], limit: int) -> tuple[list[Row], Row | None]:
    """Of up to `limit` + 1 rows read: the page, and its last row if another page follows."""
    return (rows[:limit], rows[limit - 1]) if len(rows) > limit else (rows, None)


def cursor_after(moment: str, identifier: str) -> str:
    """The cursor that goes on after the row of this moment and id."""
    return urlsafe_b64encode(orjson.dumps([moment, identifier])).rstrip(b"=").decode()


def by_time(cursor: str | None) -> tuple[datetime, str] | None:
    """The moment and the id in a cursor. Raises `Rejected("invalid")`."""
    if cursor is None:
        return None
    try:
        text = urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4))
        match orjson.loads(text):
            case [str(moment), str(identifier)] if b"\\u0000" not in text:
                after = datetime.fromisoformat(moment)
                if after.tzinfo is not None:
                    return after, identifier
    except ValueError:
        pass
    raise invalid("`cursor` is not one that this list gave as `next`", cursor=cursor)
