"""Webhook deliveries, the event log and dead letters: the bus's own commands, nouns and events."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from shared.messages.chat import ChatMessage
from shared.messages.commands import CommandData
from shared.messages.envelope import MAX_HOPS, Event, Id, Model
from shared.messages.json_text import JsonText
from shared.messages.registry import command
from shared.messages.session import Cursor, Limit


class Delivery(Model):
    """A verified webhook as it came in; `payload` is what the sender sent, untouched."""

    delivery_id: str
    message_id: str
    source: str
    event: str
    action: str | None
    received: str
    payload: JsonText | None = None


class DeadLetter(Model):
    """A message no worker could take, with the reason.

    `body` is empty where a confidential command or anything of a sidebar is shown to somebody who is no admin.
    """

    dead_letter_id: int
    message_id: str | None
    exchange: str
    routing_key: str
    reason: str
    body: str
    attempts: int
    created: str
    redriven: str | None


class WholeDeadLetter(DeadLetter):
    """A dead letter with all that is known of it; `body` is up to its first million bytes."""

    headers: dict[str, Any]
    content_encoding: str | None
    # Bytes of the body as it is kept.
    size: int
    # Whether it is about to be published again.
    waiting: bool


DeadLetterId = Annotated[int, Field(ge=1, lt=2**63)]


@command("webhook", result={"delivery": Delivery}, public=False, needs_session=False)
class ReceiveWebhook(CommandData):
    """Record a verified webhook once, and tell of it as an event.

    `chat` is what it says to a bot, if its source is a chat server; `chat_hops` is more than 0 when a bot says it.
    """

    source: Id
    event: Id
    action: Annotated[str, Field(max_length=255)] | None = None
    delivery_id: Id
    payload: JsonText
    chat: ChatMessage | None = None
    chat_hops: Annotated[int, Field(ge=0, lt=MAX_HOPS)] = 0


@command("session", result={"delivery": Delivery}, reads=True, public=False)
class GetDelivery(CommandData):
    """One webhook delivery with its payload, by its delivery id or message id."""

    delivery_id: Id


@command("session", result={"deliveries": list[Delivery], "next": str | None}, reads=True, public=False)
class ListDeliveries(CommandData):
    """Webhook deliveries without their payloads, the newest first."""

    source: Id | None = None
    limit: Limit = 50
    cursor: Cursor | None = None


@command("session", result={"delivery": Delivery, "message_id": str}, public=False, needs_session=False)
class RedeliverDelivery(CommandData):
    """Tell of a webhook delivery again: its event under a new message id, marked `redelivered`."""

    delivery_id: Id


@command("session", result={"status": str, "result": dict[str, Any], "error": dict[str, Any]}, reads=True, public=False)
class GetCommand(CommandData):
    """What became of a command: done with its result, or failed with its error; with `caller`, only of that key's.

    The replies of confidential commands are for the key that sent them (`asker`) and for an `admin`.
    """

    message_id: Id
    caller: Id | None = None
    asker: Id | None = None
    admin: bool = False


@command("session", result={"epoch": str, "base": int, "first": int, "last": int}, reads=True, public=False)
class GetEventLog(CommandData):
    """The event log's epoch, what to add to a stream offset to get a cursor, and the cursors it holds."""


@command(
    "session", result={"events": list[Any], "routing_keys": list[str], "next": int | None}, reads=True, public=False
)
class ListEvents(CommandData):
    """Recorded events after a cursor, in order, each with its `cursor`; with `topics`, only those one matches."""

    after: Annotated[int, Field(ge=-1)]
    until: int | None = None
    topics: Annotated[list[Id], Field(max_length=100)] = []
    limit: Annotated[int, Field(ge=1, le=5000)] = 1000


@command("session", result={"dead_letters": list[DeadLetter], "next": str | None}, reads=True, public=False)
class ListDeadLetters(CommandData):
    """Dead letters, the newest first."""

    limit: Limit = 50
    cursor: Cursor | None = None


@command("session", result={"dead_letter": WholeDeadLetter}, reads=True, public=False)
class GetDeadLetter(CommandData):
    """One dead letter with its headers and its body as text."""

    dead_letter_id: DeadLetterId


@command("session", result={"waiting": list[int], "redriven": list[int], "kept": list[int]}, reads=True, public=False)
class GetRedrive(CommandData):
    """Which of these dead letters wait to be published again, which were, and which lie here as they came."""

    dead_letter_ids: Annotated[list[DeadLetterId], Field(max_length=1000)]


@command("session", result={"redriven": int}, public=False, needs_session=False)
class RedriveDeadLetters(CommandData):
    """Publish dead letters again, to the exchange and routing key they came by."""

    dead_letter_ids: Annotated[list[DeadLetterId], Field(max_length=1000)] | None = None


class Webhook(Event):
    """A verified webhook came in; `payload` is what the sender sent."""

    topic: ClassVar = "webhook.{source}.{event}"
    type: Literal["webhook"] = "webhook"
    source: str
    event: str
    action: str | None
    delivery_id: str
    payload: JsonText
    # Told again because somebody asked for it.
    redelivered: Literal[True] | None = None


class DeadLetterAdded(Event):
    """A message ended among the dead letters."""

    topic: ClassVar = "system.dead_letter"
    type: Literal["dead_letter_added"] = "dead_letter_added"
    dead_letter: DeadLetter


class EventLogRecreated(Event):
    """The event stream was made anew: cursors go on from `base`; what was not yet recorded of the old one is lost."""

    topic: ClassVar = "system.event_log"
    type: Literal["event_log_recreated"] = "event_log_recreated"
    epoch: str
    base: int
