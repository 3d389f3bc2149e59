"""Events ready to be published, and as the record of their command keeps them."""

from typing import NamedTuple

import msgspec

from shared.messages import JsonText


class Publication(NamedTuple):
    """An event ready to be published."""

    routing_key: str
    body: str
    message_id: str
    traceparent: str = ""


# Events as they are kept: what they say in JSON stands within the JSON as it is, so nothing of it is escaped.
_KEPT = msgspec.json.Decoder(list[tuple[str, msgspec.Raw, str, str]])


def kept_events(events: list[Publication]) -> JsonText | None:
    """Events as a record keeps them."""
    if not events:
        return None
    return JsonText.of(
        [(each.routing_key, JsonText(each.body.encode()), each.message_id, each.traceparent) for each in events]
    )


def publications(events: str | None) -> list[Publication]:
    """The events of a record."""
    return [
        Publication(routing_key, bytes(body).decode(), message_id, traceparent)
        for routing_key, body, message_id, traceparent in (_KEPT.decode(events) if events else ())
    ]
