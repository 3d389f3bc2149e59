"""The session worker without a broker."""

from collections.abc import Iterator
from typing import Any

import pytest

from services.session_worker.batch import HANDLERS as BATCH
from services.session_worker.batch import SHARING
from services.session_worker.handlers import BATCH_HANDLERS, HANDLERS
from services.session_worker.queries import QUERIES
from shared.bus.commit import Outcome
from shared.messages import Command
from tests.integration.handling import Handling, events_of, result_of


class SessionWorker(Handling):
    """Runs commands and queries of sessions, deliveries, events and dead letters."""

    handlers = {**HANDLERS, **BATCH}
    batch_handlers = BATCH_HANDLERS
    queries = QUERIES
    sharing = SHARING

    def outcomes(self, *commands: Command) -> list[Outcome]:
        return self.run(self.commit(*commands))

    def do(
        self,
        name: str,
        data: dict[str, Any] | str | None = None,
        *,
        sender: str = "ada",
        by_admin: bool = False,
        **fields: Any,
    ) -> dict[str, Any]:
        """The result of one command, or the error of its refusal."""
        return result_of(self.outcomes(self.command(name, data or fields, sender=sender, by_admin=by_admin))[0])

    def events(self, name: str, *, sender: str = "ada", **fields: Any) -> list[dict[str, Any]]:
        """The events of one command."""
        return events_of(self.outcomes(self.command(name, fields, sender=sender))[0])

    def all_pages(self, name: str, noun: str, **fields: Any) -> list[Any]:
        """Everything a list holds, read page by page."""
        found: list[Any] = []
        cursor: dict[str, Any] = {}
        while True:
            page = self.ask(name, **fields, **cursor)
            found += page[noun]
            if page["next"] is None:
                return found
            assert page[noun]
            cursor = {"cursor": page["next"]}


@pytest.fixture
def worker(database_url: str) -> Iterator[SessionWorker]:
    """A session worker on a fresh database."""
    worker = SessionWorker(database_url)
    yield worker
    worker.close()


@pytest.fixture(scope="module")
def module_worker(module_database_url: str) -> Iterator[SessionWorker]:
    """A session worker on one database for the module."""
    worker = SessionWorker(module_database_url)
    yield worker
    worker.close()
