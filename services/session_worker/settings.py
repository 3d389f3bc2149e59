"""What the session worker is told from outside, beside what every service is."""

from pydantic import Field

from shared.settings import Settings


class SessionWorkerSettings(Settings):
    """The settings of the session worker."""

    # Not less than the stream keeps, so that what has left the stream is found in the table for a while.
    keep_events_days: int = Field(90, alias="SWITCHYARD_KEEP_EVENTS_DAYS", ge=8)
    keep_audit_days: int = Field(90, alias="SWITCHYARD_KEEP_AUDIT_DAYS", ge=1)
    sidebar_idle_hours: float = Field(72.0, alias="SWITCHYARD_SIDEBAR_IDLE_HOURS", gt=0)
    # From how many sidebars above it a child inherits.
    sidebar_inherit_depth: int = Field(5, alias="SWITCHYARD_SIDEBAR_INHERIT_DEPTH", ge=0, le=50)
