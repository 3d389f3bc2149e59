"""SQL of handled_messages beside the worker runtime's: what became of a command, and expiry."""

from typing import NamedTuple

from sqlalchemy import text

from shared.database import Transaction

# What became of a command, by the primary key.
_FIND_REPLY = text("select command, reply, caller from handled_messages where message_id = :id")

# A small batch of rows past their time, by handled_messages_expiry. A row whose events were never confirmed belongs to
# a command that is still in its queue, and is kept another week for it.
_DELETE_EXPIRED = text("""
    delete from handled_messages where ctid = any(array(
        select ctid from handled_messages
        where expires_at < now() and (events is null or expires_at < now() - interval '7 days')
        order by expires_at limit :limit
        for update skip locked
    ))
""")


class Handled(NamedTuple):
    """A handled command's name, the text of its reply, and the key it came by."""

    command: str
    reply: str
    caller: str | None


async def find_handled(tx: Transaction, message_id: str, caller: str | None = None) -> Handled | None:
    """A handled command; None when it is not known, or no longer.

    With a caller, another's command is not known either.
    """
    row = (await tx.execute(_FIND_REPLY, {"id": message_id})).one_or_none()
    return Handled(*row) if row is not None and caller in (None, row.caller) else None


async def delete_expired(tx: Transaction, limit: int) -> int:
    """Delete up to `limit` rows past their time; returns how many there were."""
    return (await tx.execute(_DELETE_EXPIRED, {"limit": limit})).rowcount
