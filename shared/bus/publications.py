"""Messages ready to be published, and as the record of their command keeps them."""

from typing import NamedTuple

import msgspec

from shared.bus.topology import EVENTS
from shared.messages import JsonText


class Publication(NamedTuple):
    """An event, or a command that follows from one, ready to be published."""

    routing_key: str
    body: str
    message_id: str
    traceparent: str = ""
    exchange: str = EVENTS


class _Kept(msgspec.Struct, array_like=True):
    # What a message says in JSON stands within the JSON as it is, so nothing of it is escaped.
    routing_key: str
    body: msgspec.Raw
    message_id: str
    traceparent: str
    # Left out with events.
    exchange: str = EVENTS


_KEPT = msgspec.json.Decoder(list[_Kept])


def kept_publications(messages: list[Publication]) -> JsonText | None:
    """Messages as a record keeps them."""
    if not messages:
        return None
    return JsonText.of(
        [
            (
                each.routing_key,
                JsonText(each.body.encode()),
                each.message_id,
                each.traceparent,
                *([] if each.exchange == EVENTS else [each.exchange]),
            )
            for each in messages
        ]
    )


def publications(kept: str | None) -> list[Publication]:
    """The messages of a record."""
    return [
        Publication(each.routing_key, bytes(each.body).decode(), each.message_id, each.traceparent, each.exchange)
        for each in (_KEPT.decode(kept) if kept else ())
    ]
