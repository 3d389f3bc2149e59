"""Moments as people read them: in this machine's time zone, short, with their age."""

from datetime import datetime

# How many of the unit before make one of the next.
_LARGER = ((60, "m"), (60, "h"), (24, "d"), (365, "y"))


def age(moment: datetime, now: datetime) -> str:
    """How long ago, in the largest unit that fits: `8s`, `3m`, `2h`, `4d`, `1y`; `in 5m` for what is to come."""
    seconds = int((now - moment).total_seconds())
    ahead, left, unit = seconds < 0, abs(seconds), "s"
    for size, larger in _LARGER:
        if left < size:
            break
        left, unit = left // size, larger
    return f"in {left}{unit}" if ahead else f"{left}{unit}"


def short(text: str, now: datetime | None = None) -> str:
    """An RFC 3339 moment for a table: `14:03 8m` today, `18 Nov 2d` this year, `2024-11-18 2y` before."""
    moment, now = _read(text), now or datetime.now().astimezone()
    if moment.date() == now.date():
        shown = f"{moment:%H:%M}"
    else:
        shown = f"{moment:%d %b}" if moment.year == now.year else f"{moment:%Y-%m-%d}"
    return f"{shown} {age(moment, now)}"


def long(text: str, now: datetime | None = None) -> str:
    """An RFC 3339 moment to the second: `2026-11-20 14:03:22 (8m ago)`."""
    moment, now = _read(text), now or datetime.now().astimezone()
    how_long = age(moment, now)
    return f"{moment:%Y-%m-%d %H:%M:%S} ({how_long if how_long.startswith('in ') else f'{how_long} ago'})"


def _read(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone()
