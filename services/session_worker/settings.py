"""What the session worker is told from outside, beside what every service is."""

from pydantic import Field

from shared.settings import Settings


class SessionWorkerSettings(Settings):
    """The settings of the session worker."""

    # Not less than the stream keeps, so that what has left the stream is found in the table for a while.
    keep_events_days: int = Field(90, alias="SWITCHYARD_KEEP_EVENTS_DAYS", ge=8)
    keep_audit_days: int = Field(90, alias="SWITCHYARD_KEEP_AUDIT_DAYS", ge=1)
