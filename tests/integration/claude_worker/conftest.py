"""Rooms with bots."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from standins.messages_api import MessagesAPI
from tests.integration.claude_worker.rooms import Rooms


@pytest.fixture(scope="module")
def api() -> Iterator[MessagesAPI]:
    with MessagesAPI() as running:
        yield running


@pytest.fixture
def rooms(fresh_amqp_url: str, database_url: str, tmp_path: Path, api: MessagesAPI) -> Iterator[Rooms]:
    """Rooms without a worker yet."""
    made = Rooms(fresh_amqp_url, database_url, tmp_path, api)
    yield made
    made.close()
