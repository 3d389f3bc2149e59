"""Commands that the owner of a partition gives itself."""

from services.claude_worker.turns import Held
from shared.messages import Command, encode, now, spec_of
from shared.messages.chat import ExpireApproval, FinishTurn, RunTurns, StartTurn


def order(
    name: str, message_id: str, data: StartTurn | FinishTurn | RunTurns | ExpireApproval, held: Held | None = None
) -> Command:
    """A command as if it had come over the bus, on behalf of whoever has caused the turn."""
    return Command(
        spec=spec_of(name),
        message_id=message_id,
        data=data,
        sender_agent_id="system",
        timestamp=now(),
        priority="normal",
        correlation_id=held.message_id if held else None,
        hops=held.hops if held else 0,
        trust=held.trust if held else "trusted",
        data_text=encode(data),
        traceparent=(held and held.traceparent) or "",
    )
