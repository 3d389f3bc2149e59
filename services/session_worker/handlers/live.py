"""What the live layer asks to be told, kept or ordered: emergencies, shutdowns, resumptions, acts, tokens."""

from datetime import UTC, datetime

from services.session_worker import live, store
from shared.bus.replies import BatchHandler, Handler, Reply
from shared.database import Transaction
from shared.errors import Rejected
from shared.messages import Command
from shared.messages.live import (
    DeclareEmergency,
    RecordGatewayActs,
    RevokeTokens,
    ShutDownGateway,
    TokensRevoked,
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


async def use_resume_token(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Note that connections were resumed. One that was before, by whomever, is refused as `conflict`.

    After a gateway's restart there are as many at once as it had clients.
    """
    first: dict[str, Command] = {}
    for command in commands:
        first.setdefault(command.data.connection_id, command)
    fresh = await store.live.insert_resumed(tx, [command.data for command in first.values()])
    return [
        Reply({"used": True})
        if first[connection_id := command.data.connection_id] is command and connection_id in fresh
        else live.used_before(connection_id)
        for command in commands
    ]


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
    handler.__name__: handler for handler in (declare_emergency, shut_down_gateway, record_gateway_acts, revoke_tokens)
}
BATCH_HANDLERS: dict[str, BatchHandler] = {"use_resume_token": use_resume_token}
