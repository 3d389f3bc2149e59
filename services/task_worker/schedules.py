"""Moments: what `run_at` and `cron` say; pure."""

from datetime import UTC, datetime

from croniter import CroniterBadDateError, CroniterError, croniter

from shared.errors import invalid


def moment(text: str | None) -> datetime | None:
    """An RFC 3339 moment in UTC, cut to microseconds. Raises `Rejected("invalid")` for an impossible one."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise invalid(f"`run_at` is not a moment: {error}", run_at=text) from None


def next_time(cron: str, after: datetime) -> datetime:
    """The first moment of a schedule after another, in UTC.

    Five fields, or six with the seconds first; `@daily` and its like too. Raises `Rejected("invalid")`.
    """
    if len(cron.split()) > 6:
        raise invalid(f"`cron` {cron!r} has more than six fields", cron=cron)
    try:
        found: datetime = croniter(cron, after, second_at_beginning=True).get_next(datetime)
    except CroniterBadDateError:
        raise invalid(f"`cron` {cron!r} never comes", cron=cron) from None
    except (CroniterError, ValueError, OverflowError, AttributeError, KeyError) as error:
        raise invalid(f"`cron` is not a schedule: {error}", cron=cron) from None
    return found.astimezone(UTC)
