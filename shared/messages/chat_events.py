"""What is told of bots in chat rooms: an event for each move of a turn, with the whole turn."""

from typing import ClassVar, Literal

from shared.messages.chat import Approval, BotUsage, Chat, Turn
from shared.messages.envelope import Event


class ChatEvent(Event):
    """The base of what happens between a bot and a room."""

    room_id: str
    bot_id: str


class TurnEvent(ChatEvent):
    """The base of what happens to a turn."""

    turn: Turn


class ChatQueued(TurnEvent):
    """A message to a bot has its place in the queue."""

    topic: ClassVar = "chat.{room_id}.{bot_id}.queued"
    type: Literal["chat_queued"] = "chat_queued"


class ChatStarted(TurnEvent):
    """A bot has begun to answer."""

    topic: ClassVar = "chat.{room_id}.{bot_id}.started"
    type: Literal["chat_started"] = "chat_started"


class ChatDelta(ChatEvent):
    """A piece of an answer that is being given, the `index`th of this attempt; the whole comes with `chat_answered`.

    Pieces are not kept for whoever was away, and those of an attempt that fails are worth nothing.
    """

    topic: ClassVar = "chat.{room_id}.{bot_id}.delta"
    type: Literal["chat_delta"] = "chat_delta"
    turn_id: str
    attempt: int
    index: int
    text: str


class ChatAnswered(TurnEvent):
    """A bot has answered: `turn` has the answer, the path it took, how long it took, its tokens and its cost."""

    topic: ClassVar = "chat.{room_id}.{bot_id}.answered"
    type: Literal["chat_answered"] = "chat_answered"


class ChatFailed(TurnEvent):
    """A bot could not answer, tried again and could not; `turn.answer` is what the room is told."""

    topic: ClassVar = "chat.{room_id}.{bot_id}.failed"
    type: Literal["chat_failed"] = "chat_failed"


class ChatRequeued(TurnEvent):
    """An attempt was given up, and the message waits again: its worker died, or gave its rooms to another."""

    topic: ClassVar = "chat.{room_id}.{bot_id}.requeued"
    type: Literal["chat_requeued"] = "chat_requeued"


class ChatMerged(TurnEvent):
    """A message came while the bot was answering and is answered with what it was at, the turn `merged_into`."""

    topic: ClassVar = "chat.{room_id}.{bot_id}.merged"
    type: Literal["chat_merged"] = "chat_merged"


class ChatDropped(TurnEvent):
    """A message will not be answered; `turn.reason` says why."""

    topic: ClassVar = "chat.{room_id}.{bot_id}.dropped"
    type: Literal["chat_dropped"] = "chat_dropped"


class ChatBusy(TurnEvent):
    """A message has waited for a while; its room is told, once."""

    topic: ClassVar = "chat.{room_id}.{bot_id}.busy"
    type: Literal["chat_busy"] = "chat_busy"


class ChatReset(ChatEvent):
    """A bot and a room begin anew."""

    topic: ClassVar = "chat.{room_id}.{bot_id}.reset"
    type: Literal["chat_reset"] = "chat_reset"
    chat: Chat


class ChatBudgetWarned(ChatEvent):
    """A bot has used most of what it may use on a day; beyond the whole of it messages are dropped."""

    topic: ClassVar = "chat.{room_id}.{bot_id}.budget_warned"
    type: Literal["chat_budget_warned"] = "chat_budget_warned"
    usage: BotUsage
    limit: str


class ApprovalRequested(ChatEvent):
    """A bot wants to use a tool and waits until it is allowed to, or not."""

    topic: ClassVar = "chat.{room_id}.{bot_id}.approval_requested"
    type: Literal["approval_requested"] = "approval_requested"
    approval: Approval


class ApprovalDecided(ChatEvent):
    """A bot was allowed a tool, or refused it, or nobody has decided in time, which refuses it too."""

    topic: ClassVar = "chat.{room_id}.{bot_id}.approval_decided"
    type: Literal["approval_decided"] = "approval_decided"
    approval: Approval


class BotSwitched(Event):
    """A bot, or (`bot_id` null) all of them, was switched off or on."""

    topic: ClassVar = "system.bot_switched"
    type: Literal["bot_switched"] = "bot_switched"
    bot_id: str | None
    on: bool
    reason: str | None
