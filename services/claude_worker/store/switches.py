"""SQL of bots that are switched off; '' stands for all of them."""

from sqlalchemy import text

from shared.database import Transaction

# By the primary key, as all below.
_OFF = text("""
    insert into chat_switches (bot_id, switched_by, reason) values (:bot_id, :by, :reason)
    on conflict (bot_id) do nothing returning true
""")
_ON = text("delete from chat_switches where bot_id = :bot_id returning true")
_ALL_OFF = text("select bot_id, switched_by, reason from chat_switches")
_IS_OFF = text("select true from chat_switches where bot_id in (:bot_id, '') limit 1")


async def switch(tx: Transaction, bot_id: str | None, *, on: bool, by: str, reason: str | None) -> bool:
    """Switch a bot, or all of them, on or off; whether that changed anything."""
    if on:
        return (await tx.execute(_ON, {"bot_id": bot_id or ""})).first() is not None
    return (await tx.execute(_OFF, {"bot_id": bot_id or "", "by": by, "reason": reason})).first() is not None


async def is_off(tx: Transaction, bot_id: str) -> bool:
    """Whether a bot, or every bot, is switched off."""
    return (await tx.execute(_IS_OFF, {"bot_id": bot_id})).first() is not None


async def find_off(tx: Transaction) -> dict[str, dict[str, str | None]]:
    """Who has switched which bot off, and why; under '' all of them."""
    return {row.bot_id: {"by": row.switched_by, "reason": row.reason} for row in await tx.execute(_ALL_OFF)}
