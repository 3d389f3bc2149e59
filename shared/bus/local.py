"""Commands that a worker gives itself: no message waits for them, so their events are kept until they are confirmed.

For work that takes longer than a transaction may: it is begun by one and finished by another, each with its reply,
its record and its events like any command (docs/decisions/0019-a-worker-gives-itself-commands.md).
"""

import asyncio
from collections.abc import Callable

from shared.bus.commit import GroupCommit, HandledElsewhere, Outcome
from shared.bus.outbox import Outbox
from shared.bus.publisher import Publisher
from shared.bus.replies import Handler
from shared.database import Database
from shared.messages import Command

# How long what the broker has confirmed may stay unmarked; others look for what is left behind after ten times that.
MARK_SECONDS = 1.0


class LocalCommands:
    """Runs commands in transactions of their own, and publishes what comes of them."""

    def __init__(
        self, database: Database, publisher: Publisher, on_committed: Callable[[Command], None] | None = None
    ) -> None:
        """`on_committed` is told of each command whose transaction is done."""
        self._database = database
        self._on_committed = on_committed
        self._outbox = Outbox(publisher, database)
        self._delivering: set[asyncio.Task[None]] = set()

    async def run(self, command: Command, handler: Handler) -> Outcome:
        """Commit a command and begin to publish its events; one with this id that was committed before is not run.

        Raises what the handler raises but `Rejected`, with nothing committed, and database errors: of a transient one
        nobody knows whether it was committed, so it is run again under the same id.
        """
        commit = GroupCommit({command.spec.name: handler}, {})
        # Nearly every one is; the record of one that was committed before is looked for when it can't be written.
        is_fresh = True
        while True:
            try:
                async with self._database.transaction() as tx:
                    (outcome,) = await commit.run(
                        tx, [command], patient=set(), parked={command.message_id}, fresh=is_fresh
                    )
                break
            except HandledElsewhere:
                is_fresh = False
        assert isinstance(outcome, Outcome)
        if self._on_committed is not None:
            self._on_committed(command)
        if outcome.publications:
            sent = self._outbox.send([outcome])
            task = asyncio.create_task(self._outbox.deliver([(command.message_id, outcome)], sent))
            self._delivering.add(task)
            task.add_done_callback(self._delivering.discard)
        return outcome

    async def keep_marked(self) -> None:
        """Mark, until cancelled, what the broker has confirmed while no other command carried it."""
        while True:
            await asyncio.sleep(MARK_SECONDS)
            await self._outbox.mark_idle()

    async def drain(self) -> None:
        """Wait until everything is published and marked."""
        if self._delivering:
            await asyncio.wait(self._delivering)
        await self._outbox.mark_idle()
