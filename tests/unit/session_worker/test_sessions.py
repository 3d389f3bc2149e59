"""Which status of a session may follow which."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.session_worker import sessions
from shared.errors import Rejected
from shared.messages.session import Session

STATUSES = ("active", "paused", "completed", "failed", "archived")


def a_session(status: str) -> Session:
    return Session(
        session_id="s1",
        title=None,
        user_id=None,
        participants=[],
        status=status,
        initial=None,
        created="2026-01-01T00:00:00.000000Z",
        last_activity="2026-01-01T00:00:00.000000Z",
        conversation_chunk_count=0,
        memory_count=0,
        task_count=0,
        artifact_count=0,
        action_count=0,
        response_count=0,
        seq=4,
    )


MOVES = {
    "pause": (sessions.pause, {"active": "paused", "paused": "paused"}),
    "resume": (sessions.resume, {"paused": "active", "active": "active"}),
    "complete": (sessions.complete, {"active": "completed"}),
    "fail": (sessions.fail, {"active": "failed"}),
    "archive": (lambda session, _: sessions.archive(session), {"completed": "archived", "failed": "archived"}),
}


@pytest.mark.parametrize("status", STATUSES)
@pytest.mark.parametrize("move", MOVES)
def test_each_move_from_each_status_is_allowed_or_a_conflict_naming_both(move, status):
    decide, allowed = MOVES[move]
    if status in allowed:
        moved, events = decide(a_session(status), "why")
        assert moved.status == allowed[status]
        assert len(events) == (0 if moved.status == status else 1)
    else:
        with pytest.raises(Rejected) as refusal:
            decide(a_session(status), "why")
        assert refusal.value.code == "conflict"
        assert status in refusal.value.message
        assert refusal.value.details["status"] == status
        assert refusal.value.details["wanted"] in refusal.value.message


def test_the_event_carries_the_session_as_it_is_after_the_move():
    moved, (event,) = sessions.pause(a_session("active"), "lunch")
    assert event.session == moved
    assert (event.type, event.reason, event.session_id) == ("session_paused", "lunch", "s1")
    assert moved.seq == 5  # the number of this very event


def test_a_repeated_move_leaves_the_session_as_it_is():
    paused = a_session("paused")
    assert sessions.pause(paused, "again") == (paused, [])


@given(st.lists(st.sampled_from(sorted(MOVES)), max_size=20))
def test_whatever_is_asked_a_closed_session_is_never_open_again(moves):
    session, closed = a_session("active"), False
    for move in moves:
        try:
            session, _ = MOVES[move][0](session, None)
        except Rejected:
            continue
        assert not (closed and session.status in ("active", "paused"))
        closed = closed or session.status in ("completed", "failed")


def test_every_status_has_its_row_in_the_table():
    assert set(sessions.TRANSITIONS) == set(STATUSES)
    assert set().union(*sessions.TRANSITIONS.values()) <= set(STATUSES)
