"""start_turn and finish_turn, which the owner of a partition gives itself; nothing is written once it is another's."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from services.claude_worker.failures import DIED
from services.claude_worker.store import chats, registry, switches, transcripts, turns, usage
from services.claude_worker.store.registry import Ownership
from services.claude_worker.store.transcripts import Place
from services.claude_worker.turns import MAX_FAILURES, Held, finished
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.messages import Command, Event
from shared.messages.chat import Chat, FinishTurn, StartTurn
from shared.messages.chat_events import ChatAnswered, ChatDropped, ChatFailed, ChatRequeued, ChatStarted, TurnEvent

Entries = Sequence[tuple[Place, list[dict[str, object]]]]


@dataclass(slots=True)
class Started:
    """An attempt that has begun: the turn, its chat, and the Claude session to take up again, if there is one."""

    held: Held
    chat: Chat
    claude_session: str | None


@dataclass(slots=True)
class Ended:
    """What an attempt came to: the turn, none if it was dropped meanwhile, and whether the chat has more to do."""

    held: Held | None
    more: bool


def start_turn(ownership: Ownership, into: list[Started]) -> Handler:
    """Begin an attempt at the first turn of a chat that is open, put into `into`; nothing when it waits or is none.

    Raises `Fenced`.
    """

    async def run(tx: Transaction, command: Command) -> Reply:
        data: StartTurn = command.data
        await registry.hold(tx, ownership)
        chat = await chats.lock_chat(tx, data.room_id, data.bot_id)
        events: list[Event] = []
        while held := await turns.lock_first_open(tx, ownership.partition, data.room_id, data.bot_id):
            if held.turn.status == "parked":
                break
            if await switches.is_off(tx, data.bot_id):
                saved = await turns.save_turn(tx, held.moved(status="dropped", reason="switched_off"))
                events.append(saved.told(ChatDropped))
                continue
            # Another's attempt: he died in it.
            died = held.turn.status == "running" and held.epoch != ownership.epoch
            held = replace(held, failures=held.failures + died, epoch=ownership.epoch)
            if held.failures >= MAX_FAILURES:
                given_up = held.moved(status="failed", answer=DIED.told, reason=DIED.reason)
                saved = await turns.save_turn(tx, given_up)
                events.append(saved.told(ChatFailed))
                continue
            held = await turns.save_turn(tx, held.moved(status="running", attempt=held.turn.attempt + 1), begins=True)
            events.append(held.told(ChatStarted))
            into.append(Started(held, chat.chat, chat.claude_session))
            break
        return Reply({"turn": held.turn if held and into else None}, events, stamped=True)

    return run


_TOLD: dict[str, type[TurnEvent]] = {"answered": ChatAnswered, "failed": ChatFailed, "queued": ChatRequeued}


def finish_turn(ownership: Ownership, entries: Entries, into: list[Ended]) -> Handler:
    """Keep what an attempt came to: the answer and, in the same transaction, what Claude remembers of it.

    A turn that was dropped while it ran stays that, and nothing is remembered. Raises `Fenced`.
    """

    async def run(tx: Transaction, command: Command) -> Reply:
        data: FinishTurn = command.data
        await registry.hold(tx, ownership)
        chat = await chats.lock_chat(tx, data.room_id, data.bot_id)
        held = await turns.lock_turn(tx, data.turn_id)
        await usage.add_usage(tx, data.room_id, data.bot_id, data.spent, turns=int(data.status == "answered"))
        events: list[Event] = []
        if held is None or held.turn.status != "running" or held.turn.attempt != data.attempt:
            held = None
        else:
            if data.status == "queued":
                held = replace(held.moved(status="queued", reason=data.reason), failures=held.failures + data.failed)
            else:
                held = held.moved(**finished(held, data, datetime.now(UTC)).__dict__)
            held = await turns.save_turn(tx, held)
            events.append(held.told(_TOLD[data.status]))
            if data.status == "answered":
                for place, lines in entries:
                    await transcripts.add_entries(tx, place, lines)
                if data.claude_session != chat.claude_session:
                    await chats.save_chat(tx, chat._replace(claude_session=data.claude_session))
        more = await turns.has_open(tx, ownership.partition, data.room_id, data.bot_id)
        into.append(Ended(held, more))
        return Reply({"turn": held and held.turn, "more": more}, events, stamped=True)

    return run
