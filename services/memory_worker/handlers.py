"""The memory worker's hot command, store_memory, and the list of all it runs."""

from collections.abc import Sequence

from services.memory_worker import deltas, memories, transfer
from services.memory_worker.collisions import Collisions
from services.memory_worker.forgetting import forget_memory
from services.memory_worker.memories import Draft
from services.memory_worker.store import memories as store
from services.memory_worker.telling import tell_memory_updates
from services.memory_worker.vectors import embed_memories
from shared.bus.replies import BatchHandler, Handler, Reply
from shared.database import Transaction
from shared.errors import Rejected, Transient
from shared.messages import Command, rfc3339
from shared.messages.memory import Memory, MemoryUpdate

Answers = dict[int, Reply | Rejected]


async def store_memory(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Store memories; a key that has one gets a new version, and the old one is kept.

    What has no key comes last, and is not stored when it only says what a memory in force says already: the reply is
    then that memory. The sessions must be locked, so that nobody writes to them meanwhile.
    """
    answers: Answers = {}
    collisions = Collisions()
    drafts = [memories.draft(at, command) for at, command in enumerate(commands)]
    await _store(tx, commands, [draft for draft in drafts if not draft.key_made], answers, collisions)
    if without_key := [draft for draft in drafts if draft.key_made]:
        stored_at = {command.message_id: at for at, command in enumerate(commands)}
        echoes = await _recall(tx, without_key, stored_at, answers)
        again = {draft.at for draft, _ in echoes}
        fresh = [draft for draft in without_key if draft.at not in answers and draft.at not in again]
        await _store(tx, commands, fresh, answers, collisions)
        for draft, first in echoes:
            answer = answers[first.at]
            answers[draft.at] = _recalled(answer.result["memory"]) if isinstance(answer, Reply) else answer
    for at, review in collisions.reviews():
        answer = answers[at]
        assert isinstance(answer, Reply)
        answer.commands.append(review)
    return [answers[at] for at in range(len(commands))]


async def _store(
    tx: Transaction, commands: list[Command], drafts: Sequence[Draft], answers: Answers, collisions: Collisions
) -> None:
    """Store drafts in their order and enter their answers, and who has met whom.

    One statement while every key is new and named once; keys that are there already take a second one, and keys named
    again one more for each time.
    """
    there: set[memories.Place] = set()
    waiting = list(drafts)
    while waiting:
        wave, waiting = memories.split_repeated(waiting)
        first = [draft for draft in wave if draft.may_be_first and draft.place not in there]
        moments = await store.insert_memories(tx, first) if first else {}
        rest = []
        for draft in wave:
            moment = moments.get(draft.place)
            if moment is not None:
                created = rfc3339(moment)
                memory = memories.stored(draft, 1, created, created)
                answers[draft.at] = _reply(memory, [_update(memory, 1, deltas.FIRST)], new=True)
            elif draft.key_made:
                waiting.append(memories.with_another_key(draft))
            else:
                rest.append(draft)
        causes = [memories.cause_of(commands[draft.at]) for draft in rest]
        for draft, replaced in zip(rest, await store.replace_memories(tx, rest, causes) if rest else [], strict=True):
            if replaced is None:
                raise Transient(f"memory {draft.key!r} changed while its session was locked")
            answers[draft.at] = _next(draft, replaced)
            if replaced.version is not None and replaced.met is not None:
                collisions.add(draft, replaced.version, replaced.met)
        there.update(draft.place for draft in wave if isinstance(answers.get(draft.at), Reply))


async def _recall(
    tx: Transaction, drafts: Sequence[Draft], stored_at: dict[str, int], answers: Answers
) -> list[tuple[Draft, Draft]]:
    """Answer the drafts that are in force already, or can't be; returns those that say what another of them says."""
    first: dict[int, Draft] = {}
    echoes = []
    for draft in drafts:
        if not draft.may_be_first:
            answers[draft.at] = memories.guarded(draft, 0)
        elif draft.content_hash is not None and first.setdefault(draft.content_hash, draft) is not draft:
            echoes.append((draft, first[draft.content_hash]))
    known = await store.find_saying(tx, first.keys()) if first else {}
    for hash, memory in known.items():
        # What comes later in this batch can't have been recalled.
        before = stored_at.get(memory.message_id, -1) < first[hash].at
        if before and memories.repeats(first[hash], memory):
            answers[first[hash].at] = _recalled(memory)
    return echoes


def _next(draft: Draft, replaced: store.Replaced) -> Reply | Rejected:
    if replaced.version is None:
        return memories.guarded(draft, replaced.found)
    created, updated = rfc3339(replaced.created), rfc3339(replaced.updated)
    memory = memories.stored(draft, replaced.version, created, updated)
    if not replaced.due:
        return _reply(memory, [], new=replaced.was_forgotten)
    forgotten = replaced.was_forgotten
    delta = deltas.FORGOTTEN if forgotten else deltas.between(replaced.told_content, draft.content)
    return _reply(memory, [_update(memory, replaced.version - replaced.told, delta)], new=forgotten)


def _update(memory: Memory, count: int, delta: deltas.Delta) -> MemoryUpdate:
    return MemoryUpdate(
        session_id=memory.session_id,
        context_id=memory.session_id,
        exchange=memory,
        count=count,
        delta=delta.patch,
        delta_omitted=delta.omitted,
    )


def _reply(memory: Memory, events: list[MemoryUpdate], *, new: bool) -> Reply:
    return Reply({"memory": memory, "recalled": False}, [*events], {"memory_count": 1} if new else {})


def _recalled(memory: Memory) -> Reply:
    return Reply({"memory": memory, "recalled": True})


BATCH_HANDLERS: dict[str, BatchHandler] = {"store_memory": store_memory}
HANDLERS: dict[str, Handler] = {
    **{handler.__name__: handler for handler in (forget_memory, tell_memory_updates, embed_memories)},
    **transfer.HANDLERS,
}
