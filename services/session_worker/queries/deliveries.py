"""Webhook deliveries by their id, and lists of them."""

from datetime import datetime
from typing import Any

from services.session_worker import store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import not_found
from shared.messages import Command
from shared.messages.system import GetDelivery, ListDeliveries
from shared.pages import cursor_after, page_of, sort_key


async def get_delivery(tx: Transaction, command: Command) -> dict[str, Any]:
    """One webhook delivery with its payload."""
    asked: GetDelivery = command.data
    delivery = await store.deliveries.find_delivery(tx, asked.delivery_id)
    if delivery is None:
        raise not_found("delivery", asked.delivery_id)
    return {"delivery": delivery}


async def list_deliveries(tx: Transaction, command: Command) -> dict[str, Any]:
    """A page of webhook deliveries without payloads, the newest first."""
    asked: ListDeliveries = command.data
    rows = await store.deliveries.list_deliveries(
        tx, asked.source, sort_key(asked.cursor, datetime, str), asked.limit + 1
    )
    deliveries, last = page_of(rows, asked.limit)
    return {"deliveries": deliveries, "next": cursor_after(last.received, last.message_id) if last else None}


QUERIES: dict[str, QueryHandler] = {query.__name__: query for query in (get_delivery, list_deliveries)}
