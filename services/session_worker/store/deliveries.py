"""SQL of webhook deliveries."""

from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.engine import Row

from shared.database import Transaction
from shared.messages import JsonText, encode, rfc3339
from shared.messages.system import Delivery

# PostgreSQL takes a value of at most 1 GB; far less at a time keeps its memory and ours small.
_STATEMENT_BYTES = 8_000_000

# Many deliveries in one statement, payloads spliced in as they came; those recorded before are left out. By the primary
# key; each row also goes into deliveries_by_delivery, deliveries_newest and deliveries_newest_of_source. A JSON null
# comes out of a recordset as SQL's.
_INSERT = text("""
    insert into deliveries (message_id, source, delivery_id, event, action, payload, received)
    select message_id, source, delivery_id, event, action, coalesce(payload, 'null'), received
    from json_to_recordset(cast(:rows as json)) as row (
        message_id text, source text, delivery_id text, event text, action text, payload json, received timestamptz
    )
    on conflict (message_id) do nothing
    returning message_id
""")

_COLUMNS = "message_id, source, delivery_id, event, action, received"

# Deliveries that were recorded before, for the reply to a copy; by the primary key.
_FIND_MANY = text(f"select {_COLUMNS} from deliveries where message_id = any(:ids)")  # noqa: S608

# One delivery with its payload, by deliveries_by_delivery or the primary key. Two sources may use one delivery id: the
# newest counts.
_FIND = text(f"""
    select {_COLUMNS}, payload::text as payload from deliveries
    where delivery_id = :id or message_id = :id
    order by received desc limit 1
""")  # noqa: S608

_LIST = f"select {_COLUMNS} from deliveries"  # noqa: S608
_ORDER = "order by received desc, message_id desc limit :limit"
_AFTER = "(received, message_id) < (:received, :id)"

# Deliveries, the newest first; all by deliveries_newest, those of one source by deliveries_newest_of_source.
_LISTS = {
    (False, False): text(f"{_LIST} {_ORDER}"),
    (False, True): text(f"{_LIST} where {_AFTER} {_ORDER}"),
    (True, False): text(f"{_LIST} where source = :source {_ORDER}"),
    (True, True): text(f"{_LIST} where source = :source and {_AFTER} {_ORDER}"),
}


async def insert_deliveries(tx: Transaction, deliveries: list[Delivery]) -> set[str]:
    """Write deliveries with their payloads; returns the message ids of those that were not there before."""
    written: set[str] = set()
    rows: list[bytes] = []
    size = 0
    for row in (encode(delivery) for delivery in deliveries):
        if rows and size + len(row) > _STATEMENT_BYTES:
            written |= await _insert(tx, rows)
            rows, size = [], 0
        rows.append(row)
        size += len(row)
    return written | (await _insert(tx, rows) if rows else set())


async def _insert(tx: Transaction, rows: list[bytes]) -> set[str]:
    written = await tx.execute(_INSERT, {"rows": (b"[" + b",".join(rows) + b"]").decode()})
    return {row.message_id for row in written}


async def find_recorded(tx: Transaction, message_ids: list[str]) -> dict[str, Delivery]:
    """Deliveries by their message ids, without payloads."""
    rows = await tx.execute(_FIND_MANY, {"ids": message_ids})
    return {row.message_id: _delivery(row) for row in rows}


async def find_delivery(tx: Transaction, identifier: str) -> Delivery | None:
    """A delivery with its payload by its delivery id or message id; None when there is none."""
    row = (await tx.execute(_FIND, {"id": identifier})).one_or_none()
    return _delivery(row).model_copy(update={"payload": JsonText(row.payload.encode())}) if row else None


async def list_deliveries(
    tx: Transaction, source: str | None, after: tuple[datetime, str] | None, limit: int
) -> list[Delivery]:
    """Up to `limit` deliveries without payloads after a sort key, the newest first."""
    received, identifier = after or (None, None)
    values = {"source": source, "received": received, "id": identifier, "limit": limit}
    rows = await tx.execute(_LISTS[source is not None, after is not None], values)
    return [_delivery(row) for row in rows]


def _delivery(row: Row[Any]) -> Delivery:
    return Delivery(
        delivery_id=row.delivery_id,
        message_id=row.message_id,
        source=row.source,
        event=row.event,
        action=row.action,
        received=rfc3339(row.received),
    )
