"""How much output a run may bring: what its runner may send ahead, and how long it pauses; pure.

The pace is the generic cell rate algorithm (GCRA): each line moves the moment up to which all is paid for.
"""

from datetime import datetime, timedelta

LINES_PER_SECOND = 10_000.0
# What may come faster than that for a moment.
BURST_SECONDS = 1.0
# A long line counts as one for each of so many letters.
LETTERS = 256
# What a runner may have sent that is not stored yet; less while much is not looked through yet.
AHEAD = 4_000
LEAST_AHEAD = 500
BACKLOG = 10_000


def cost(text: str) -> float:
    """What a line counts as."""
    return 1 + len(text) // LETTERS


def paid_until(paced_until: datetime, now: datetime, lines: float, rate: float) -> datetime:
    """Up to when all is paid for after so many lines more."""
    return max(paced_until, now) + timedelta(seconds=lines / rate)


def pause(paced_until: datetime, now: datetime) -> float:
    """Seconds a runner waits before it sends more."""
    return round(max(0.0, (paced_until - now).total_seconds() - BURST_SECONDS), 3)


def credit(backlog: int) -> int:
    """How many lines a runner may send before the next answer, with so many not looked through."""
    return AHEAD if backlog < BACKLOG else LEAST_AHEAD
