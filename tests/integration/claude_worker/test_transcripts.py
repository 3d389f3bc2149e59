"""Transcripts in PostgreSQL: the SDK's own test of session stores, and what it does not ask."""

import asyncio
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from claude_agent_sdk.testing import run_session_store_conformance

from services.claude_worker.client.transcripts import TranscriptStore, TurnTranscript
from services.claude_worker.store import transcripts
from shared.database import Database

KEY = {"project_key": "-tmp-switchyard-chat", "session_id": "s1"}


class Disk:
    """A store whose sessions are its own: the SDK wants an empty one for each question."""

    numbers = count()

    def __init__(self, store: TranscriptStore) -> None:
        self._store = store
        self._own = f"#{next(self.numbers)}"

    def _at(self, key: Any) -> Any:
        return {**key, "project_key": f"{key['project_key']}{self._own}"}

    async def append(self, key: Any, entries: list[Any]) -> None:
        await self._store.append(self._at(key), entries)

    async def load(self, key: Any) -> Any:
        return await self._store.load(self._at(key))

    async def list_sessions(self, project_key: str) -> Any:
        return await self._store.list_sessions(f"{project_key}{self._own}")

    async def list_subkeys(self, key: Any) -> Any:
        return await self._store.list_subkeys(self._at(key))

    async def delete(self, key: Any) -> None:
        await self._store.delete(self._at(key))


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def store(runner: asyncio.Runner, module_database_url: str) -> Iterator[TranscriptStore]:
    database = Database(module_database_url, name="tests")
    yield TranscriptStore(database)
    runner.run(database.close())


def test_it_is_a_session_store_as_the_sdk_wants_it(runner: asyncio.Runner, store: TranscriptStore) -> None:
    runner.run(run_session_store_conformance(lambda: Disk(store)))  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize(
    "text", ["nul \x00", "half a pair \ud83d", "é😀", "x" * 300_000], ids=["nul", "surrogate", "wide", "long"]
)
def test_whatever_stood_in_a_line_stands_there_again(text: str, runner: asyncio.Runner, store: TranscriptStore) -> None:
    key = {**KEY, "session_id": text[:4].encode().hex() if text.isascii() else repr(text[:12])}
    line = {"type": "user", "uuid": "u1", "message": text, text[:8]: [1.50, 2**70, None]}
    runner.run(store.append(key, [line]))
    assert runner.run(store.load(key)) == [line]


def test_a_line_with_a_uuid_is_kept_once_and_one_without_each_time(
    runner: asyncio.Runner, store: TranscriptStore
) -> None:
    lines = [{"type": "a", "uuid": "u1"}, {"type": "mode"}, {"type": "b", "uuid": "u2"}]
    runner.run(store.append(KEY, lines[:2]))
    runner.run(store.append(KEY, lines))
    assert runner.run(store.load(KEY)) == [lines[0], lines[1], lines[1], lines[2]]


def test_a_turn_is_remembered_only_when_it_is_kept(runner: asyncio.Runner, store: TranscriptStore) -> None:
    key = {**KEY, "session_id": "s2"}
    turn = TurnTranscript(store)
    runner.run(turn.append(key, [{"type": "user", "uuid": "u1"}]))
    assert runner.run(turn.load(key)) is None
    ((place, lines),) = turn.take()
    assert place == transcripts.Place(KEY["project_key"], "s2") and turn.take() == []
    runner.run(store.append(key, lines))
    assert runner.run(turn.load(key)) == [{"type": "user", "uuid": "u1"}]
