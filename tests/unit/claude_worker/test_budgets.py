"""Budgets: what is nearly used up, what is, and what the room is told."""

import pytest

from services.claude_worker import budgets
from services.claude_worker.bots import Budget
from services.claude_worker.budgets import Limit, Used

BUDGET = Budget(turns=100, tokens=10_000, cost_usd=2, room_turns=10, room_tokens=1_000)


@pytest.mark.parametrize(
    ("bot", "room", "warned_of", "used_up"),
    [
        (Used(), Used(), [], None),
        (Used(turns=79), Used(turns=7), [], None),
        (Used(turns=80), Used(turns=7), ["turns"], None),
        (Used(turns=80), Used(turns=8), ["turns", "room_turns"], None),
        (Used(80, 4_000, 4_500), Used(), ["tokens"], None),
        (Used(cost_usd=2.1), Used(turns=10), ["cost_usd", "room_turns"], "cost_usd"),
        (Used(turns=10), Used(turns=10), ["room_turns"], "room_turns"),
        (Used(cost_usd=2.1), Used(0, 900, 700), ["cost_usd", "room_tokens"], "room_tokens"),
    ],
    ids=["nothing", "little", "bot", "bot and room", "the most used", "bot is over", "room is over", "both are over"],
)
def test_the_room_is_warned_before_a_limit_and_refused_beyond(
    bot: Used, room: Used, warned_of: list[str], used_up: str | None
) -> None:
    assert sorted(limit.name for limit in budgets.to_warn_of(BUDGET, bot, room)) == sorted(warned_of)
    limit = budgets.used_up(BUDGET, bot, room)
    assert (limit and limit.name) == used_up


def test_what_is_not_limited_is_never_used_up() -> None:
    lots = Used(10**9, 10**12, 10**12, 10.0**9)
    assert budgets.used_up(Budget(), lots, lots) is None and not budgets.is_limited(Budget())
    room_only = Budget(room_turns=1)
    assert budgets.is_limited(room_only) and not budgets.is_limited(room_only, room=False)
    assert not budgets.is_limited(Budget(turns=1), room=True)


def test_what_is_left_is_never_less_than_nothing() -> None:
    assert [limit.left for limit in budgets.limits(BUDGET, Used(turns=120, cost_usd=0.5), None)] == [0, 10_000, 1.5]


def test_the_room_is_told_in_a_sentence() -> None:
    assert budgets.warning(Limit("tokens", 10_000, 8_400)) == (
        "I have used 84% of what I may use today (8,400 of 10,000 tokens)."
    )
    assert budgets.refusal(Limit("room_cost_usd", 1, 1.251)) == (
        "I have used up what I may use in this room today ($1.25 of $1.00), so I don't answer any more. "
        "From midnight (UTC) on I do again."
    )
