"""Recording verified webhooks, and telling of them again."""

from datetime import UTC, datetime

from services.session_worker import store
from shared.bus.follow_ups import FollowUp
from shared.bus.replies import BatchHandler, Handler, Reply
from shared.database import Transaction
from shared.errors import Rejected, not_found
from shared.messages import Command, rfc3339
from shared.messages.system import Delivery, ReceiveWebhook, RedeliverDelivery, Webhook

# Who says what came in by a webhook.
WEBHOOK = "webhook"


async def receive_webhook(tx: Transaction, commands: list[Command]) -> list[Reply | Rejected]:
    """Record verified webhooks; one that was recorded before makes no second event, however long ago that was."""
    received = rfc3339(datetime.now(UTC))
    deliveries = {command.message_id: _delivery(command, received) for command in commands}
    said = {command.message_id: _said(command) for command in commands}
    written = await store.deliveries.insert_deliveries(tx, list(deliveries.values()))
    before = [message_id for message_id in deliveries if message_id not in written]
    recorded = await store.deliveries.find_recorded(tx, before) if before else {}
    replies: list[Reply | Rejected] = []
    for message_id, delivery in deliveries.items():
        if message_id in recorded:
            replies.append(Reply({"delivery": recorded[message_id]}))
        else:
            # The reply is kept for days, so it does not repeat the payload.
            told = delivery.model_copy(update={"payload": None})
            replies.append(Reply({"delivery": told}, [_webhook(delivery)], commands=said[message_id]))
    return replies


async def redeliver_delivery(tx: Transaction, command: Command) -> Reply:
    """Tell of a recorded webhook again, for listeners that have missed or mishandled it."""
    asked: RedeliverDelivery = command.data
    delivery = await store.deliveries.find_delivery(tx, asked.delivery_id)
    if delivery is None:
        raise not_found("delivery", asked.delivery_id)
    event = _webhook(delivery)
    event.redelivered = True
    # Whoever asks for it, the text came from outside.
    event.trust = "untrusted"
    told = delivery.model_copy(update={"payload": None})
    return Reply({"delivery": told, "message_id": event.message_id}, [event])


def _delivery(command: Command, received: str) -> Delivery:
    asked: ReceiveWebhook = command.data
    return Delivery(
        delivery_id=asked.delivery_id,
        message_id=command.message_id,
        source=asked.source,
        event=asked.event,
        action=asked.action,
        received=received,
        payload=asked.payload,
    )


def _said(command: Command) -> list[FollowUp]:
    """What a chat server's webhook says to a bot; what came by somebody's key goes on as that."""
    asked: ReceiveWebhook = command.data
    if asked.chat is None:
        return []
    said = asked.chat.model_dump(exclude_none=True)
    return [FollowUp("chat_message", said, WEBHOOK, hops=asked.chat_hops, caller=command.caller)]


def _webhook(delivery: Delivery) -> Webhook:
    assert delivery.payload is not None
    return Webhook(
        source=delivery.source,
        event=delivery.event,
        action=delivery.action,
        delivery_id=delivery.delivery_id,
        payload=delivery.payload,
    )


HANDLERS: dict[str, Handler] = {"redeliver_delivery": redeliver_delivery}
BATCH_HANDLERS: dict[str, BatchHandler] = {"receive_webhook": receive_webhook}
