"""Bots in chat rooms: commands and nouns. What is told of them stands in `chat_events`."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from shared.messages.commands import CommandData
from shared.messages.envelope import Id, Label, Model, Trust
from shared.messages.json_text import JsonText
from shared.messages.registry import command
from shared.messages.session import Cursor, Limit

TurnStatus = Literal["queued", "running", "parked", "answered", "failed", "merged", "dropped"]
# How an answer came about: by a client that was connected, by one that took the conversation up again, by a new one.
Path = Literal["hot", "warm", "cold"]
DropReason = Literal[
    "busy", "interrupted", "reset", "budget", "switched_off", "loop", "own_message", "unknown_bot", "expired"
]
ApprovalStatus = Literal["pending", "approved", "denied", "expired"]
# What somebody says at once; Campfire and its like allow far less.
Said = Annotated[str, StringConstraints(min_length=1, max_length=200_000)]
# What somebody is called.
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00-\x1f\x7f]+$")]

_ROOM = {"room_id": "42", "bot_id": "helper"}


class Turn(Model):
    """A message to a bot and what became of it.

    `number` counts the messages of a room to a bot. `path`, the times, tokens and cost are those of the attempt that
    answered; `connect_ms` is what it took to have a client, `answer_ms` the rest until the answer was whole,
    `waited_ms` what lay before. `reason` says why it was dropped or failed, `merged_into` with which turn it was
    answered.
    """

    turn_id: str
    room_id: str
    bot_id: str
    number: int
    status: TurnStatus
    user_name: str
    text: str
    trust: Trust
    attempt: int
    answer: str | None
    path: Path | None
    reason: str | None
    merged_into: str | None
    input_tokens: int
    output_tokens: int
    cost_usd: float
    waited_ms: float | None
    connect_ms: float | None
    answer_ms: float | None
    queued: str
    started: str | None
    completed: str | None


class Chat(Model):
    """What a bot and a room have with each other. `idle_minutes` and `keep_days` null: what the bot's own say.

    `conversation` counts how often they began anew.
    """

    room_id: str
    bot_id: str
    conversation: int
    turns: int
    idle_minutes: float | None
    keep_days: float | None
    created: str
    last_activity: str


class Approval(Model):
    """A tool that a bot wants to use and may not without being allowed to, each time."""

    approval_id: str
    turn_id: str
    room_id: str
    bot_id: str
    tool: str
    input: JsonText
    status: ApprovalStatus
    decided_by: str | None
    note: str | None
    created: str
    expires: str
    decided: str | None


class BotUsage(Model):
    """What a bot has used on a day (UTC), in one room or (`room_id` null) in all of them."""

    bot_id: str
    room_id: str | None
    day: str
    turns: int
    input_tokens: int
    output_tokens: int
    cost_usd: float


class PartitionedData(CommandData):
    """The base of commands that keep the order of a (room, bot)."""

    partitioned: ClassVar[bool] = True

    room_id: Id
    bot_id: Id


@command(
    "chat",
    result={"turn": Turn},
    creates=True,
    example={**_ROOM, "user_name": "Ada", "text": "What did we decide about the checkout?"},
)
class ChatMessage(PartitionedData):
    """Say something to a bot in a room; it answers by the event `chat_answered`, and where the room is.

    The reply comes as soon as the message has its place in the queue, or is refused one (`turn.status` dropped). What
    is said to a bot in a room is answered in its order. `reply_to` is a door's own note of where the answer goes.
    """

    user_name: Name
    text: Said
    user_id: Id | None = None
    room_name: Label | None = None
    reply_to: Annotated[str, StringConstraints(max_length=4_000)] | None = None


@command("chat", result={"chat": Chat, "dropped": int}, destructive=True, idempotent=True, example=_ROOM)
class ResetChat(PartitionedData):
    """Forget what a bot and a room have said to each other; what still waits for an answer is dropped."""


@command("chat", result={"chat": Chat}, idempotent=True, example={**_ROOM, "idle_minutes": 60})
class SetChat(PartitionedData):
    """Say how a room differs from what its bot is declared with; null: it does not, left out: as before.

    `idle_minutes`: how long a client stays connected when nothing is said. `keep_days`: how long the conversation is
    kept after that.
    """

    idle_minutes: Annotated[float, Field(gt=0, le=100_000)] | None = None
    keep_days: Annotated[float, Field(gt=0, le=36_500)] | None = None


@command(
    "chat",
    result={"approval": Approval},
    scope="admin",
    example={"approval_id": "0199f7f0-6a1e-7c3e-8a55-1f0c2d3e4f50", "note": "go ahead"},
)
class Approve(CommandData):
    """Let a bot use the tool it has asked for, this once."""

    approval_id: Id
    note: Label | None = None


@command(
    "chat",
    result={"approval": Approval},
    scope="admin",
    example={"approval_id": "0199f7f0-6a1e-7c3e-8a55-1f0c2d3e4f50", "note": "not on a Friday"},
)
class Deny(CommandData):
    """Refuse a bot the tool it has asked for; it goes on without."""

    approval_id: Id
    note: Label | None = None


@command(
    "chat",
    result={"bot_id": str | None, "on": bool, "changed": bool},
    scope="admin",
    idempotent=True,
    example={"bot_id": "helper", "on": False, "reason": "it talks nonsense"},
)
class SwitchBot(CommandData):
    """Switch a bot, or (`bot_id` null) all of them, off at once, in mid-answer too, or on again."""

    bot_id: Id | None = None
    on: bool
    reason: Label | None = None


@command(
    "chat",
    result={
        "workers": list[dict[str, Any]],
        "pool": dict[str, Any],
        "queue": dict[str, Any],
        "bots": list[dict[str, Any]],
    },
    reads=True,
)
class ChatStats(CommandData):
    """The clients in the pool, the turns that wait and run, the bots, whether they are on, and what was used today."""

    room_id: Id | None = None
    bot_id: Id | None = None


@command("chat", result={"turns": list[Turn], "next": str | None}, reads=True, example={**_ROOM, "limit": 20})
class ListTurns(CommandData):
    """Messages to bots with their answers, the newest first."""

    room_id: Id | None = None
    bot_id: Id | None = None
    status: TurnStatus | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@command("chat", result={"approvals": list[Approval], "next": str | None}, reads=True, example={"status": "pending"})
class ListApprovals(CommandData):
    """Tools that bots have asked to be allowed, the newest first."""

    room_id: Id | None = None
    bot_id: Id | None = None
    status: ApprovalStatus | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@command("chat", result={"approval": Approval}, public=False)
class ExpireApproval(CommandData):
    """Refuse a tool that nobody has allowed in time; the worker that finds it gives it itself."""

    approval_id: Id


@command("chat", result={"turns": int}, public=False)
class RunTurns(PartitionedData):
    """Tell the owner of a partition that somebody else has put something into it."""


@command("chat", result={"turn": Turn | None}, public=False)
class StartTurn(PartitionedData):
    """Begin an attempt at the first turn of a room that is open; the worker that has its partition gives it itself."""


class Spent(Model):
    """What an attempt has used."""

    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float = 0.0


@command("chat", result={"turn": Turn | None, "more": bool}, public=False)
class FinishTurn(PartitionedData):
    """Keep what has become of an attempt; the worker that has made it gives it itself.

    `status` queued: it is to be tried again, `failed` says whether that counts as a failure. `claude_session` is that
    of the conversation it belongs to, null when nothing of it is remembered. `merged` are the turns that were answered
    with it. Replies with the turn, null if it had been dropped meanwhile, and whether more
    are open.
    """

    turn_id: Id
    attempt: int
    status: TurnStatus
    failed: bool = False
    answer: str | None = None
    reason: Label | None = None
    path: Path | None = None
    claude_session: Id | None = None
    merged: list[Id] = []
    spent: Spent = Spent()
    connect_ms: float | None = None
    answer_ms: float | None = None


class Keep(Model):
    """How many days a bot's conversations are kept when nothing is said."""

    bot_id: str
    days: float


@command("chat", result={"forgotten": int, "rows": int}, public=False)
class CleanChats(CommandData):
    """Forget conversations in which nothing was said for longer than their rooms or, by `keep`, their bots keep them.

    `days` is for bots that `keep` does not name, since they are declared no more. What is not done in one go is done
    by commands that follow.
    """

    keep: list[Keep]
    days: float
