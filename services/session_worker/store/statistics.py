"""SQL of statistics over sessions."""

from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import text

from shared.database import Transaction
from shared.messages.session import SessionStatus


class Day(NamedTuple):
    """What was begun and done on one day (UTC)."""

    day: date
    sessions: int
    actions: int


# Sessions opened in a stretch of time, by status. By sessions_by_created.
_BY_STATUS = text("""
    select status, count(*) as sessions from sessions
    where created >= :since and created < :until group by status
""")

# The same, and actions, by day: the counts of sessions_by_created and actions_by_created alone.
_BY_DAY = text("""
    select day, sum(sessions)::bigint as sessions, sum(actions)::bigint as actions from (
        select (created at time zone 'UTC')::date as day, count(*) as sessions, 0 as actions from sessions
        where created >= :since and created < :until group by 1
        union all
        select (created at time zone 'UTC')::date, 0, count(*) from actions
        where created >= :since and created < :until group by 1
    ) as counted
    group by day order by day
""")

# The mean duration of sessions opened in a stretch of time that have ended: by session_transitions_ended, which holds
# only the ends.
_MEAN_DURATION = text("""
    select extract(epoch from avg(ended.at - sessions.created))::float8 as seconds
    from sessions join session_transitions as ended on ended.session_id = sessions.id
    where sessions.created >= :since and sessions.created < :until and ended.to_status in ('completed', 'failed')
""")


async def count_by_status(tx: Transaction, since: datetime, until: datetime) -> dict[SessionStatus, int]:
    """How many sessions opened in a stretch of time have each status; those none has are left out."""
    rows = await tx.execute(_BY_STATUS, {"since": since, "until": until})
    return {row.status: row.sessions for row in rows}


async def count_by_day(tx: Transaction, since: datetime, until: datetime) -> list[Day]:
    """Sessions and actions by day; days without any are left out."""
    rows = await tx.execute(_BY_DAY, {"since": since, "until": until})
    return [Day(row.day, row.sessions, row.actions) for row in rows]


async def mean_duration(tx: Transaction, since: datetime, until: datetime) -> float | None:
    """Seconds from creation to end, of sessions opened in a stretch of time; None when none has ended."""
    seconds: float | None = (await tx.execute(_MEAN_DURATION, {"since": since, "until": until})).scalar_one()
    return seconds
