"""What the live layer asks to be told, kept or ordered: emergencies, shutdowns, resumptions, acts, tokens."""

from datetime import UTC, datetime

from services.session_worker import live, store
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.messages import Command
from shared.messages.live import (
    DeclareEmergency,
    RecordGatewayActs,
    RevokeTokens,
    ShutDownGateway,
    TokensRevoked,
    UseResumeToken,
)


async def declare_emergency(tx: Transaction, command: Command) -> Reply:
    """Tell everyone who is connected, before all that waits."""
    asked: DeclareEmergency = command.data
    event = live.emergency(asked, command.sender_agent_id)
    return Reply({"emergency": event.emergency}, [event])


async def shut_down_gateway(tx: Transaction, command: Command) -> Reply:
    """Order gateways to end; each of them hears it as the event that its clients are told."""
    asked: ShutDownGateway = command.data
    event = live.shutdown(asked, command.sender_agent_id)
    return Reply({"shutdown": event.shutdown}, [event])


async def use_resume_token(tx: Transaction, command: Command) -> Reply:
    """Note that a connection was resumed. Raises `Rejected("conflict")` when it was before, by whomever."""
    asked: UseResumeToken = command.data
    if not await store.live.insert_resumed(tx, asked.connection_id, asked.agent_id, asked.resumed_as):
        raise live.used_before(asked.connection_id)
    return Reply({"used": True})


async def record_gateway_acts(tx: Transaction, command: Command) -> Reply:
    """Write what happened at a gateway's door into the audit log."""
    asked: RecordGatewayActs = command.data
    rows = live.audited(asked.acts, command.message_id, datetime.now(UTC))
    await store.audit.insert_entries(tx, rows)
    return Reply({"kept": len(rows)})


async def revoke_tokens(tx: Transaction, command: Command) -> Reply:
    """Put one token, or all of an agent's so far, out of force; one that is already stays so."""
    asked: RevokeTokens = command.data
    kind, identifier = live.whose(asked)
    tokens = await store.live.revoke_tokens(tx, kind, identifier, by=command.sender_agent_id, reason=asked.reason)
    return Reply({"revoked": identifier}, [TokensRevoked(tokens=tokens, reason=asked.reason)])


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler
    for handler in (declare_emergency, shut_down_gateway, use_resume_token, record_gateway_acts, revoke_tokens)
}
