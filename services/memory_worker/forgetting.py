"""Forgetting: a memory's content goes, the fact that it was there and who forgot it stays."""

from services.memory_worker.store import forgetting as store
from shared.bus.replies import Reply
from shared.database import Transaction
from shared.errors import Rejected, not_found
from shared.messages import Command
from shared.messages.memory import ForgetMemory, MemoryForgotten


async def forget_memory(tx: Transaction, command: Command) -> Reply:
    """Erase a memory's content in all its versions; what is forgotten already stays as it is.

    Raises `Rejected("not_found")`.
    """
    data: ForgetMemory = command.data
    if not await store.lock_session(tx, data.session_id):
        raise not_found("session", data.session_id)
    forgotten = await store.find_forgotten(tx, data.session_id, data.key)
    if forgotten is not None:
        return Reply({"memory": forgotten})
    fact = {"by": command.sender_agent_id, "message_id": command.message_id, "reason": data.reason}
    memory = await store.forget(tx, data.session_id, data.key, fact)
    if memory is None:
        raise Rejected(
            "not_found",
            f"session {data.session_id!r} has no memory {data.key!r}",
            session_id=data.session_id,
            key=data.key,
        )
    return Reply(
        {"memory": memory}, [MemoryForgotten(session_id=memory.session_id, memory=memory)], {"memory_count": -1}
    )
