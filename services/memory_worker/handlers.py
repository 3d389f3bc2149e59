"""The memory worker's writing commands."""

from services.memory_worker import memories
from services.memory_worker.store import memories as store
from shared.bus.commit import BatchHandler, Reply
from shared.database import Transaction
from shared.errors import Rejected, Transient
from shared.messages import Command, rfc3339
from shared.messages.memory import Memory, MemoryUpdate


async def store_memory(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Store memories in their order; a key that has one gets a new version, and the old one is kept.

    One statement while every key is new and named once; keys that are there already take a second one, and keys named
    again in the batch one more for each time. The sessions must be locked, so that nobody writes to them meanwhile.
    """
    answers: dict[int, Reply | Rejected] = {}
    there: set[memories.Place] = set()
    waiting = [memories.draft(at, command) for at, command in enumerate(commands)]
    while waiting:
        wave, waiting = memories.split_repeated(waiting)
        first = [draft for draft in wave if draft.may_be_first and draft.place not in there]
        moments = await store.insert_memories(tx, first) if first else {}
        rest = []
        for draft in wave:
            moment = moments.get(draft.place)
            if moment is not None:
                created = rfc3339(moment)
                answers[draft.at] = _reply(memories.stored(draft, 1, created, created), new=True)
            elif draft.key_made:
                waiting.append(memories.with_another_key(draft))
            else:
                rest.append(draft)
        for draft, replaced in zip(rest, await store.replace_memories(tx, rest) if rest else [], strict=True):
            if replaced is None:
                raise Transient(f"memory {draft.key!r} changed while its session was locked")
            if replaced.version is None:
                answers[draft.at] = memories.guarded(draft, replaced.found)
            else:
                created, updated = rfc3339(replaced.created), rfc3339(replaced.updated)
                answers[draft.at] = _reply(memories.stored(draft, replaced.version, created, updated), new=False)
        there.update(draft.place for draft in wave if isinstance(answers.get(draft.at), Reply))
    return [answers[at] for at in range(len(commands))]


def _reply(memory: Memory, *, new: bool) -> Reply:
    event = MemoryUpdate(session_id=memory.session_id, context_id=memory.session_id, exchange=memory)
    return Reply({"memory": memory}, [event], {"memory_count": 1} if new else {})


BATCH_HANDLERS: dict[str, BatchHandler] = {"store_memory": store_memory}
