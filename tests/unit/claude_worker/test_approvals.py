"""Whose word decides about a tool, and in which words."""

import time
from typing import Any

import pytest

from services.claude_worker.approvals import Word, request, word_of
from services.claude_worker.bots import Bot
from shared.messages import Command, JsonText, spec_of
from shared.messages.chat import Approval, ChatMessage

BOT = Bot(name="helper", approvers=("Grace", "u-7", "7"))
APPROVAL = Approval(
    approval_id="0199f7f0-6a1e-7c3e-8a55-1f0c2d3e4f50",
    turn_id="t1",
    room_id="r",
    bot_id="helper",
    tool="delegate_task",
    input=JsonText(b'{"a":1}'),
    status="pending",
    decided_by=None,
    note=None,
    created="2026-11-20T12:00:00.000000Z",
    expires="2026-11-21T12:00:00.000000Z",
    decided=None,
)


def said(text: str, *, by: str = "Grace", hops: int = 0, user_id: str | None = None, **more: Any) -> Command:
    data = ChatMessage(room_id="r", bot_id="helper", user_name=by, text=text, user_id=user_id)
    spec = spec_of("chat_message")
    return Command(spec, "m", data, "s", "2026-11-20T12:00:00Z", "normal", None, hops, "trusted", b"{}", **more)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("approve", Word("approved", None, None)),
        (" Approve! ", Word("approved", None, None)),
        ("deny 3E4F50", Word("denied", "3e4f50", None)),
        ("deny 3e4f50: not on\na Friday", Word("denied", "3e4f50", "not on\na Friday")),
        ("approve 0199f7f0-6a1e-7c3e-8a55-1f0c2d3e4f50", Word("approved", APPROVAL.approval_id, None)),
        ("approve of it, would you?", None),
        ("please approve", None),
        ("approved", None),
        ("deny everything", None),
        ("deny 50", None),
    ],
)
def test_a_verdict_is_one_word_with_an_id_and_a_note_at_most(text: str, word: Word | None) -> None:
    assert word_of(BOT, said(text)) == word
    assert word is None or word.means(APPROVAL)


@pytest.mark.parametrize(
    ("more", "counts"),
    [
        ({"by": "Grace"}, True),
        ({"by": "x", "user_id": "u-7"}, True),
        ({"by": "x", "user_id": "7"}, True),
        ({"by": "7", "user_id": "8"}, False),
        ({"by": "grace"}, False),
        ({"by": "mallory"}, False),
        ({"by": "Grace", "hops": 1}, False),
        ({"by": "Grace", "caller": "ci"}, False),
        ({"by": "Grace", "caller": "bootstrap", "by_admin": True}, True),
    ],
    ids=[
        "by name",
        "by id",
        "by number",
        "called like a number",
        "another name",
        "a stranger",
        "a bot",
        "any key",
        "an admin's key",
    ],
)
def test_only_an_approvers_own_word_counts(more: dict[str, Any], counts: bool) -> None:
    assert (word_of(BOT, said("approve", **more)) is not None) == counts


def test_a_long_message_of_an_approver_is_read_at_once() -> None:
    began = time.monotonic()
    assert word_of(BOT, said("deny abcd " + "." * 199_000 + "\x00")) == Word("denied", "abcd", "\x00")
    assert word_of(BOT, said("approve abcd x" + ". " * 90_000 + "y")) is not None
    assert word_of(BOT, said("approve" + " " * 199_000 + "x")) is None
    assert time.monotonic() - began < 1


def test_a_word_about_another_approval_does_not_mean_this_one() -> None:
    assert not Word("approved", "abcdef", None).means(APPROVAL)


def test_the_room_is_told_what_is_wanted_and_how_to_answer() -> None:
    told = request(APPROVAL, BOT)
    assert (
        'delegate_task with {"a":1}' in told and "Grace, u-7, 7 can answer: `approve 3e4f50` or `deny 3e4f50`" in told
    )
    long = APPROVAL.model_copy(update={"input": JsonText(b'"' + b"x" * 5000 + b'"')})
    assert len(request(long, BOT)) < 1_000 and "(5002 characters)" in request(long, BOT)
    assert APPROVAL.approval_id in request(APPROVAL, Bot(name="helper"))
