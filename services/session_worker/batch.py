"""The batch: commands of every area in one transaction, as a whole or not at all.

The one module that runs the handlers and queries of other workers (docs/decisions/0006-batch-runs-every-handler.md).
"""

from collections.abc import Mapping, Sequence

from services.memory_worker.handlers import BATCH_HANDLERS as MEMORY_BATCH_HANDLERS
from services.memory_worker.handlers import HANDLERS as MEMORY_HANDLERS
from services.memory_worker.queries import QUERIES as MEMORY_QUERIES
from services.session_worker.handlers import BATCH_HANDLERS as SESSION_BATCH_HANDLERS
from services.session_worker.handlers import HANDLERS as SESSION_HANDLERS
from services.session_worker.handlers.sidebar_locks import find_sessions as find_sessions_of_sidebars
from services.session_worker.queries import QUERIES as SESSION_QUERIES
from services.task_worker.handlers import BATCH_HANDLERS as TASK_BATCH_HANDLERS
from services.task_worker.handlers import HANDLERS as TASK_HANDLERS
from services.task_worker.handlers import find_sessions as find_sessions_of_tasks
from services.task_worker.queries import QUERIES as TASK_QUERIES
from shared.bus.commit import GroupCommit
from shared.bus.queries import QueryHandler
from shared.bus.replies import BatchHandler, Handler, Reply, SessionMissing, Undone
from shared.bus.sharing import Sharing
from shared.database import Transaction, savepoint
from shared.errors import Rejected, invalid
from shared.messages import Command, Event, JsonText, encode
from shared.messages.batch import Batch, commands_within, refused_at
from shared.messages.mentions import MentionRoute

# What the results of one batch may take: they are kept for a day, for a repetition.
MAX_RESULTS_BYTES = 8_000_000
# How often its commands may mention somebody: each time is an event of its own, with the text, in one record.
MAX_MENTIONS = 1_000

_HANDLERS: Mapping[str, Handler] = {**SESSION_HANDLERS, **MEMORY_HANDLERS, **TASK_HANDLERS}
_BATCH_HANDLERS: Mapping[str, BatchHandler] = {
    **SESSION_BATCH_HANDLERS,
    **MEMORY_BATCH_HANDLERS,
    **TASK_BATCH_HANDLERS,
}
# None of these sees what the others do. Not log_response: it takes its number from where log_action does.
_WITHIN = Sharing(gathered=("conversation_chunk", "store_memory", "log_action"), numbered_as_they_came=True)
_QUERIES: Mapping[str, QueryHandler] = {**SESSION_QUERIES, **MEMORY_QUERIES, **TASK_QUERIES}


def handlers(told: Mapping[str, Handler] | None = None) -> dict[str, Handler]:
    """The batch; `told` are handlers that settings have a say in, in place of those of the same names."""

    async def run(tx: Transaction, command: Command) -> Reply:
        return await batch(tx, command, {**_HANDLERS, **(told or {})})

    return {"batch": run}


async def batch(tx: Transaction, command: Command, of_all: Mapping[str, Handler] = _HANDLERS) -> Reply:
    """Run every command of a batch in its order, each seeing what those before it have done; all or none.

    Raises the `Rejected` of the first that is refused, with its index, or `SessionMissing`.
    """
    parts = commands_within(command)
    reads = _Reads(MAX_RESULTS_BYTES)
    runs = {**of_all, **{part.spec.name: reads.handler(part.spec.name) for part in parts if part.spec.reads}}
    try:
        async with savepoint(tx):
            replies = await GroupCommit(runs, _BATCH_HANDLERS, _WITHIN).run_whole(tx, parts)
            results = encode([reply.result for reply in replies])
            if len(results) > MAX_RESULTS_BYTES:
                raise _too_large(len(results))
            events = [event for reply in replies for event in reply.events]
            _check_mentions(events)
    except Undone as undone:
        raise _told(undone, parts[undone.index]) from None
    for event in events:
        event.__dict__["correlation_id"] = command.message_id
    return Reply({"results": JsonText(results)}, events, parts=list(zip(parts, replies, strict=True)), stamped=True)


async def find_sessions(tx: Transaction, commands: list[Command]) -> set[str]:
    """The sessions of the sidebars that commands name, and of the tasks and sidebars that batches do, by ids alone."""
    within = [part for command in commands if isinstance(command.data, Batch) for part in commands_within(command)]
    tasks = [part for part in within if part.spec.area == "task"]
    found = await find_sessions_of_tasks(tx, tasks) if tasks else set()
    return found | await find_sessions_of_sidebars(tx, [*commands, *within])


class _Reads:
    """Answers the reading commands of one batch, as long as there is room for their answers."""

    def __init__(self, room: int) -> None:
        self._room = room

    def handler(self, name: str) -> Handler:
        query = _QUERIES[name]

        async def answer(tx: Transaction, command: Command) -> Reply:
            if getattr(command.data, "meaning", None) is not None:
                raise invalid("a batch can't search by `meaning`: it would keep its sessions waiting for the endpoint")
            result = await query(tx, command)
            self._room -= len(encode(result))
            if self._room < 0:
                raise _too_large(MAX_RESULTS_BYTES - self._room)
            return Reply(result)

        return answer


def _too_large(size: int) -> Rejected:
    return Rejected(
        "too_large", f"the results would take {size} bytes, and may take {MAX_RESULTS_BYTES}; ask for less in a batch"
    )


def _check_mentions(events: Sequence[Event]) -> None:
    mentions = sum(isinstance(event, MentionRoute) for event in events)
    if mentions > MAX_MENTIONS:
        raise Rejected(
            "too_large",
            f"the commands of this batch mention agents {mentions} times, and may do so {MAX_MENTIONS} times; send "
            "fewer of them at once",
            mentions=mentions,
            limit=MAX_MENTIONS,
        )


def _told(undone: Undone, part: Command) -> Rejected | SessionMissing:
    """The batch's own refusal, naming the command that was refused."""
    reason = undone.reason
    if isinstance(reason, SessionMissing):
        return SessionMissing(refused_at(undone.index, part.spec.name, reason.refusal))
    return refused_at(undone.index, part.spec.name, reason)


HANDLERS: dict[str, Handler] = handlers()
SHARING = Sharing(find_sessions=find_sessions, apart=frozenset({"archive_idle_sidebars"}))
