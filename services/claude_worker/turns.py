"""A turn: a message to a bot, and the moves it makes until it is answered; no I/O."""

from dataclasses import dataclass, replace
from typing import Any

from services.claude_worker.bots import Bot
from shared.messages import rfc3339
from shared.messages.chat import DropReason, FinishTurn, Turn
from shared.messages.chat_events import TurnEvent
from shared.messages.envelope import Trust

OPEN = ("queued", "running", "parked")
# How often an attempt may fail before the room is told.
MAX_FAILURES = 2


@dataclass(frozen=True, slots=True)
class Held:
    """A turn as its row has it: the noun, and what only the worker needs to know."""

    turn: Turn
    partition: int
    message_id: str
    sender_agent_id: str
    hops: int
    trust: Trust
    traceparent: str | None
    user_id: str | None
    room_name: str | None
    reply_to: str | None
    failures: int
    epoch: int | None

    def moved(self, **fields: Any) -> "Held":
        """The same, with some fields of the turn changed."""
        return replace(self, turn=self.turn.model_copy(update=fields))

    def told(self, kind: type[TurnEvent], turn: Turn | None = None) -> TurnEvent:
        """An event of this turn: from the bot, caused by the message, a hop further."""
        turn = turn or self.turn
        return kind(
            room_id=turn.room_id,
            bot_id=turn.bot_id,
            turn=turn,
            sender_agent_id=turn.bot_id,
            correlation_id=self.message_id,
            hops=self.hops + 1,
            trust=self.trust,
            traceparent=self.traceparent,
        )  # type: ignore[call-arg]


@dataclass(frozen=True, slots=True)
class Waiting:
    """A turn that is open: for how many seconds, whether its room was told so, and whether its bot is switched off."""

    held: Held
    waited_s: float
    is_told: bool
    is_off: bool


def prompt_of(turn: Turn, bot: Bot) -> str:
    """What a bot reads of a message."""
    return f"{turn.user_name}: {turn.text}" if bot.name_speakers else turn.text


def may_join(answered: Held, newer: Held) -> bool:
    """Whether a message may be answered with another: it must not be trusted less, nor be further from a human."""
    is_trusted = newer.trust == "trusted" or answered.trust == "untrusted"
    return is_trusted and newer.hops <= answered.hops


def reason_not_to_answer(bot: Bot, bot_id: str, *, sender: str, user_name: str, hops: int) -> DropReason | None:
    """Why a message is not answered at all: a bot that answers itself, or another bot, would never end."""
    if _plain(sender) == _plain(bot_id) or _plain(user_name) in (_plain(bot_id), _plain(bot.name)):
        return "own_message"
    return "loop" if hops >= bot.max_hops else None


def _plain(name: str) -> str:
    """A name as people take it for the same."""
    return "".join(name.casefold().split())


def turns_used(end: FinishTurn) -> int:
    """How many messages an attempt has brought to their end."""
    return len(end.merged) + (end.status not in ("queued", "parked"))


def spent(held: Held, end: FinishTurn) -> dict[str, Any]:
    """What a turn has used with this attempt: with those after which it was parked."""
    turn = held.turn
    return {
        "input_tokens": turn.input_tokens + end.spent.input_tokens,
        "output_tokens": turn.output_tokens + end.spent.output_tokens,
        "cost_usd": turn.cost_usd + end.spent.cost_usd,
    }


def finished(held: Held, end: FinishTurn, now: Any) -> Turn:
    """The turn after an attempt that has ended for good."""
    return held.turn.model_copy(
        update={
            "status": end.status,
            "answer": end.answer,
            "reason": end.reason,
            "path": end.path,
            **spent(held, end),
            "connect_ms": end.connect_ms,
            "answer_ms": end.answer_ms,
            "completed": rfc3339(now),
        }
    )
