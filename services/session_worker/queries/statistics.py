"""The question for statistics over sessions."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from services.session_worker.store import statistics as store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import invalid
from shared.messages import Command, rfc3339
from shared.messages.reading import DayStats, SessionStats, Statistics
from shared.messages.session import SessionStatus

USUAL = timedelta(days=30)
LONGEST = timedelta(days=366)


async def session_stats(tx: Transaction, command: Command) -> dict[str, Any]:
    """Counts of the sessions opened, and the actions logged, within a stretch of time: of 30 days unless told."""
    since, until = stretch(command.data, datetime.now(UTC))
    by_status = await store.count_by_status(tx, since, until)
    days = await store.count_by_day(tx, since, until)
    mean = await store.mean_duration(tx, since, until)
    actions = sum(day.actions for day in days)
    stats = Statistics(
        since=rfc3339(since),
        until=rfc3339(until),
        sessions=sum(by_status.values()),
        by_status={status: by_status.get(status, 0) for status in get_args(SessionStatus)},
        by_day=[DayStats(day=day.day.isoformat(), sessions=day.sessions, actions=day.actions) for day in days],
        actions=actions,
        actions_per_minute=round(actions / ((until - since) / timedelta(minutes=1)), 6),
        mean_duration_s=None if mean is None else round(mean, 6),
    )
    return {"stats": stats}


def stretch(asked: SessionStats, now: datetime) -> tuple[datetime, datetime]:
    """The stretch of time that is asked for. Raises `Rejected("invalid")` when it is empty or longer than a year."""
    until = _moment("until", asked.until) or now
    since = _moment("since", asked.since) or until - USUAL
    if not timedelta(0) < until - since <= LONGEST:
        raise invalid(
            f"from {rfc3339(since)} until {rfc3339(until)}: a stretch of time of up to {LONGEST.days} days is expected",
            since=rfc3339(since),
            until=rfc3339(until),
        )
    return since, until


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise invalid(f"`{name}` is not a moment: {error}", **{name: text}) from None


QUERIES: dict[str, QueryHandler] = {"session_stats": session_stats}
