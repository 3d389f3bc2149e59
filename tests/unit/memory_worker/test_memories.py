"""The rules of memories."""

import re
from datetime import UTC, datetime
from typing import Any

import pytest

from services.memory_worker import memories
from shared.errors import Rejected
from shared.messages import Command, decode_command, encode_command


def command(**data: Any) -> Command:
    document = {"session_id": "s1", "type": "idea", "content": 1, **data}
    return decode_command(encode_command("store_memory", document, message_id="m1", sender_agent_id="ada"))


def test_a_draft_says_who_stores_what_and_by_which_message():
    draft = memories.draft(3, command(key="k", content={"b": 1, "a": 2}, tags=["t"], if_version=2))
    assert (draft.at, draft.place, draft.type, draft.tags) == (3, ("s1", "k"), "idea", ["t"])
    assert (draft.author, draft.message_id, draft.if_version, draft.key_made) == ("ada", "m1", 2, False)
    assert draft.content == '{"b":1,"a":2}'


def test_a_memory_without_a_key_gets_one_that_tells_its_type():
    draft = memories.draft(0, command())
    assert re.fullmatch(r"idea-[a-z2-7]{8}", draft.key)
    assert draft.key_made
    other = memories.with_another_key(draft)
    assert other.key != draft.key
    assert (other.content, other.at) == (draft.content, draft.at)


@pytest.mark.parametrize(("guard", "allowed"), [(None, True), (0, True), (1, False), (7, False)])
def test_a_guard_above_zero_wants_a_memory_that_is_there(guard, allowed):
    more = {} if guard is None else {"if_version": guard}
    assert memories.draft(0, command(key="k", **more)).may_be_first is allowed


def test_a_key_named_again_waits_for_its_next_version():
    drafts = [memories.draft(at, command(key=key)) for at, key in enumerate("abaab")]
    wave, later = memories.split_repeated(drafts)
    assert [draft.at for draft in wave] == [0, 1]
    assert [draft.at for draft in later] == [2, 3, 4]


def test_the_same_key_in_another_session_is_another_memory():
    drafts = [memories.draft(at, command(key="k", session_id=session)) for at, session in enumerate(("s1", "s2"))]
    assert memories.split_repeated(drafts) == (drafts, [])


def test_a_refused_guard_names_the_version_in_force():
    draft = memories.draft(0, command(key="k", if_version=3))
    refusal = memories.guarded(draft, 5)
    assert refusal.code == "conflict"
    assert refusal.message == "memory 'k' is at version 5, and `if_version` is 3"
    assert memories.guarded(draft, 0).message == "memory 'k' does not exist, and `if_version` is 3"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02t03:04:05.5z", datetime(2026, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)),
        ("2026-01-02T05:04:05.123456789+02:00", datetime(2026, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
    ],
)
def test_a_moment_may_be_written_in_every_way_rfc_3339_allows(text, expected):
    assert memories.moment(text) == expected


@pytest.mark.parametrize("text", ["2026-02-29T00:00:00Z", "0000-01-01T00:00:00Z", "2026-01-01T24:01:00Z"])
def test_a_moment_that_never_was_is_invalid(text):
    with pytest.raises(Rejected, match="`as_of` is not a moment"):
        memories.moment(text)
