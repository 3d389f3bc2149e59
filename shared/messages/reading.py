"""Reading across nouns: full-text search, the timeline of a session, statistics."""

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import Id, Model
from shared.messages.memory import Moment
from shared.messages.registry import command
from shared.messages.session import Cursor, Limit, SessionStatus

HitKind = Literal["chunk", "memory", "artifact"]
Query = Annotated[str, StringConstraints(min_length=1, max_length=1000)]


class Hit(Model):
    """Something a search found; `id` is the chunk's or artifact's id, or the memory's key.

    `highlight` is HTML: the text around the words, escaped, with the words in `<mark>`.
    """

    kind: HitKind
    session_id: str
    id: str
    title: str
    rank: float
    highlight: str
    created: str


class DayStats(Model):
    """What was begun and done on one day (UTC)."""

    day: str
    sessions: int
    actions: int


class Statistics(Model):
    """Sessions opened within a stretch of time, and the actions logged in it.

    `mean_duration_s` is of those that were completed or failed, from their creation; null when there are none.
    """

    since: str
    until: str
    sessions: int
    by_status: dict[SessionStatus, int]
    by_day: list[DayStats]
    actions: int
    actions_per_minute: float
    mean_duration_s: float | None


@command(
    "session",
    result={"hits": list[Hit], "next": str | None},
    reads=True,
    example={"q": "queue postgresql", "session_id": "demo", "kinds": ["memory", "chunk"]},
)
class Search(CommandData):
    """Full-text search over conversation chunks, memories and artifacts, ranked together, the best first.

    `q` takes words, "quoted phrases", `or`, and `-` before a word to leave out.
    """

    q: Query
    session_id: Id | None = None
    kinds: Annotated[list[HitKind], Field(min_length=1, max_length=3)] | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@command(
    "session",
    result={"entries": list[dict[str, Any]], "first_seq": int | None, "last_seq": int, "next": str | None},
    reads=True,
    example={"session_id": "demo", "types": ["memory_update", "action_logged"], "limit": 100},
)
class GetTimeline(CommandData):
    """Everything that happened in a session, in the order of `session_seq`: its events, each with its `cursor`.

    `first_seq` is the number of the oldest event that is still kept, null when none is; `last_seq` the number of the
    session's last event. A page may be short, or empty, and have a `next`: few of the events it looked through were of
    `types`. What happened in sidebars that the asker takes no part in is left out, unless an admin asks, so that
    numbers may be missing. Events that were counted and are not recorded yet are waited for, up to `wait_s` seconds.
    """

    session_id: Id
    types: Annotated[list[Id], Field(min_length=1, max_length=100)] | None = None
    limit: Limit = 100
    cursor: Cursor | None = None
    wait_s: Annotated[float, Field(ge=0, le=2)] = 2


@command(
    "session",
    result={"events": list[Any], "places": list[str], "at": list[float], "last_seq": int, "next": str | None},
    reads=True,
    public=False,
)
class ReplayPage(CommandData):
    """A page of a session's events as a replay gives them: as `get_timeline` does, and with what the pace needs.

    It begins with the event numbered `from_seq` (or the first one after it), with the first one of `since` or
    later, or behind the event at the place `after`; the next page is asked for by `cursor`. `until_seq` is the last
    number wanted; without it the page waits for events that are not recorded yet, and `last_seq` says which was the
    last. `places` name the events, `at` says when they happened (Unix seconds).
    """

    session_id: Id
    from_seq: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    since: Moment | None = None
    after: Id | None = None
    until_seq: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    limit: Limit = 100
    cursor: Cursor | None = None


@command("session", result={"stats": Statistics}, reads=True, public=False)
class SessionStats(CommandData):
    """Sessions by status and by day, actions per minute and the mean duration; of the last 30 days unless told."""

    since: Moment | None = None
    until: Moment | None = None
