"""Pages of a replay: from any place, each event once, by an index, without the whole."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.integration.session_worker.conftest import SessionWorker

EVENTS = 2_000
BEGAN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=2)


@pytest.fixture(scope="module")
def session_id(module_worker: SessionWorker) -> str:
    """A session of two hours ago with 2,000 events, a second apart."""
    created: str = module_worker.do("create_session")["session"]["session_id"]
    module_worker.sql(
        "update sessions set seq = :count, created = :began, last_activity = :began where id = :id",
        id=created,
        count=EVENTS,
        began=BEGAN,
    )
    module_worker.sql(
        """
        insert into events (cursor, timestamp, message_id, type, routing_key, session_id, session_seq, body)
        select base.cursor + number, cast(:began as timestamptz) + number * interval '1 second',
            :id || '-' || number, 'told', 'session.x.told', :id, number,
            json_build_object('type', 'told', 'session_seq', number)
        from generate_series(1, :count) as number, (select coalesce(max(cursor), 0) as cursor from events) as base
        """,
        id=created,
        count=EVENTS,
        began=BEGAN,
    )
    return created


def numbers(page: dict[str, Any]) -> list[int]:
    return [event["session_seq"] for event in page["events"]]


def test_pages_hold_every_event_once_with_its_place_and_time(module_worker: SessionWorker, session_id: str) -> None:
    page = module_worker.ask("replay_page", session_id=session_id, limit=500)
    seen, at = numbers(page), page["at"]
    while page["next"]:
        page = module_worker.ask(
            "replay_page", session_id=session_id, limit=500, until_seq=page["last_seq"], cursor=page["next"]
        )
        seen += numbers(page)
        at += page["at"]

    assert seen == [*range(1, EVENTS + 1)]
    assert at == [(BEGAN + timedelta(seconds=number)).timestamp() for number in range(1, EVENTS + 1)]
    assert page["last_seq"] == EVENTS


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ({"from_seq": 0}, 1),
        ({"from_seq": 1}, 1),
        ({"from_seq": 1_500}, 1_500),
        ({"since": (BEGAN + timedelta(seconds=700, milliseconds=-1)).isoformat(timespec="milliseconds")}, 700),
        ({"since": (BEGAN - timedelta(days=1)).isoformat()}, 1),
        ({"since": (BEGAN + timedelta(hours=1)).isoformat()}, None),
        ({"from_seq": EVENTS + 1}, None),
        ({"from_seq": 2**62}, None),
    ],
)
def test_it_begins_anywhere(
    module_worker: SessionWorker, session_id: str, asked: dict[str, Any], first: int | None
) -> None:
    page = module_worker.ask("replay_page", session_id=session_id, limit=3, **asked)
    expected = [] if first is None else [number for number in range(first, first + 3) if number <= EVENTS]
    assert numbers(page) == expected


def test_it_goes_on_behind_a_place_and_ends_where_it_is_told(module_worker: SessionWorker, session_id: str) -> None:
    page = module_worker.ask("replay_page", session_id=session_id, limit=10)
    rest = module_worker.ask("replay_page", session_id=session_id, after=page["places"][4], until_seq=8, limit=10)
    assert numbers(rest) == [6, 7, 8]
    assert (rest["next"], rest["last_seq"]) == (None, 8)


def test_a_session_that_does_not_exist_has_no_replay(module_worker: SessionWorker) -> None:
    assert module_worker.ask("replay_page", session_id="no-such-session")["code"] == "not_found"
