"""What a room is owed when a turn ends."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from services.claude_worker.store.posts import owe_answer
from shared.sealing import CALLBACK
from tests.unit.claude_worker.test_tools import HELD


class Kept:
    """Stands where the database is."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def execute(self, statement: Any, fields: dict[str, Any]) -> None:
        self.texts.append(fields["text"])


@pytest.mark.parametrize(
    ("reply_to", "answer", "owed"),
    [
        (None, "hi", []),
        ("s1.room", "hi", ["hi"]),
        ("s1.room", "", []),
        (f"{CALLBACK}s1.url", "hi", ["hi"]),
        # Whoever is called back hears of every end.
        (f"{CALLBACK}s1.url", "", [""]),
    ],
)
def test_an_answer_without_a_word_is_told_to_those_alone_who_are_called_back(
    reply_to: str | None, answer: str, owed: list[str]
) -> None:
    kept = Kept()
    asyncio.run(owe_answer(kept, replace(HELD, reply_to=reply_to).moved(answer=answer)))  # type: ignore[arg-type]
    assert kept.texts == owed
