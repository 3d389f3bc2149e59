"""Actions and responses without a database."""

import pytest

from services.session_worker import actions
from shared.messages import decode_command, encode_command


def draft(at, **data):
    command = decode_command(
        encode_command("log_action", {"session_id": "s1", "type": "t", **data}, message_id="m1", sender_agent_id="ada")
    )
    return actions.action_draft(at, command)


def test_the_first_of_a_batch_takes_an_id():
    drafts = [draft(0, action_id="a"), draft(1, action_id="b"), draft(2, action_id="a"), draft(3, session_id="s2")]
    drafts.append(draft(4, action_id="a", session_id="s2"))
    assert [each.at for each in actions.first_of_each(drafts)] == [0, 1, 3, 4]


def test_drafts_without_an_id_get_one_each():
    drafts = [draft(at) for at in range(100)]
    assert len(actions.first_of_each(drafts)) == 100


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
        ("2026-01-31t12:00:00.123456789z", "2026-01-31T12:00:00.123456Z"),
        ("2026-01-31T12:00:00.5+05:30", "2026-01-31T06:30:00.500000Z"),
        ("2026-01-01T00:30:00+01:00", "2025-12-31T23:30:00.000000Z"),
    ],
)
def test_a_moment_is_kept_in_utc_with_microseconds(sent, kept):
    assert draft(0, timestamp=sent).timestamp == kept
