"""The writing commands of API keys."""

from services.session_worker import keys, store
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.messages import Command
from shared.messages.access import CreateKey, KeyChanged, RevokeKey


async def create_key(tx: Transaction, command: Command) -> Reply:
    """Keep a new key by its hash; whoever made the secret tells it, so it is not in this reply, which is kept."""
    asked: CreateKey = command.data
    key_hash = keys.check_new(asked)
    key = await store.keys.insert_key(tx, asked, key_hash)
    if key is None:
        raise keys.taken(asked.name)
    return Reply({"key": key, "secret": None}, [KeyChanged(name=key.name)])


async def revoke_key(tx: Transaction, command: Command) -> Reply:
    """Put a key out of force; revoking a revoked one changes nothing."""
    asked: RevokeKey = command.data
    keys.refuse_reserved(asked.name)
    key = await store.keys.lock_key(tx, asked.name)
    if key is None:
        raise keys.no_such(asked.name)
    if key.revoked is not None:
        return Reply({"key": key})
    return Reply({"key": await store.keys.revoke_key(tx, asked.name)}, [KeyChanged(name=key.name)])


HANDLERS: dict[str, Handler] = {"create_key": create_key, "revoke_key": revoke_key}
