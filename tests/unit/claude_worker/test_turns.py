"""The rules of turns and of shares."""

import pytest

from services.claude_worker.bots import Bot
from services.claude_worker.failures import failure_of_status
from services.claude_worker.store.registry import share_of
from services.claude_worker.turns import reason_not_to_answer

BOT = Bot(name="Helper", max_hops=4)


@pytest.mark.parametrize(
    ("sender", "user_name", "hops", "reason"),
    [
        ("ada", "Ada", 0, None),
        ("ada", "Ada", 3, None),
        ("ada", "Ada", 4, "loop"),
        ("helper", "Ada", 0, "own_message"),
        ("ada", "Helper", 0, "own_message"),
        ("ada", "helper", 0, "own_message"),
        ("ada", " HEL per", 0, "own_message"),
        ("Helper", "Ada", 0, "own_message"),
    ],
    ids=[
        "a person",
        "few hops",
        "too many hops",
        "its own command",
        "its own name",
        "its own id",
        "its own name in another way",
        "its own command in another way",
    ],
)
def test_a_bot_answers_neither_itself_nor_for_ever(sender: str, user_name: str, hops: int, reason: str | None) -> None:
    assert reason_not_to_answer(BOT, "helper", sender=sender, user_name=user_name, hops=hops) == reason


@pytest.mark.parametrize("workers", range(1, 20))
def test_all_shares_together_are_all_partitions_and_as_even_as_can_be(workers: int) -> None:
    alive = [f"w{number:02}" for number in range(workers)]
    shares = [share_of(worker, alive) for worker in alive]
    assert sum(shares) == 16 and max(shares) - min(shares) <= 1


def test_who_is_not_alive_has_no_share() -> None:
    assert share_of("gone", ["w1"]) == 0


def test_a_room_is_told_what_happened_in_a_sentence() -> None:
    assert failure_of_status(529).told == "Sorry, Claude is overloaded just now. Please try again later."
    assert failure_of_status(418).reason == "api_418" and failure_of_status(None).reason == "api_unreachable"
