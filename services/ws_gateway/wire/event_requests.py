"""What a request for events asks for, and who asks."""

import re
import time
from dataclasses import replace
from typing import Any

import msgspec

from services.ws_gateway.door.access import BAD_TOKEN, Identity, Refused, identify, shown_token
from services.ws_gateway.gateway import Gateway
from services.ws_gateway.requests import Subscribe
from services.ws_gateway.wire.http_head import Head
from shared.auth import Caller
from shared.errors import invalid

# A stream of a key's own ends after as long as a token may be valid.
KEY_SECONDS = 7 * 24 * 3600.0

_PARAMETERS = ("topics", "mode", "filters", "peripheral_awareness", "since", "last_event_id", "lastEventId")
_NUMBER = re.compile(r"-?\d{1,18}\Z", re.ASCII)


def who_asks(gateway: Gateway, head: Head) -> Identity:
    """Who asks, as an observer. Raises `Refused` or `Rejected`."""
    if any("token" in name.lower() or "key" in name.lower() for name in head.query()):
        raise Refused(BAD_TOKEN, "a token or key is never taken from the URL; use a header")
    if key := head.headers.get("x-api-key"):
        return of_key(gateway.caller(key))
    token = shown_token(head.path, head.headers)
    if token is None:
        raise Refused(BAD_TOKEN, "show a token by `Authorization: Bearer` or a key by `X-API-Key`")
    return replace(identify(gateway.secret, token), permission="observer")


def of_key(caller: Caller) -> Identity:
    """Who an API key speaks for: an observer named after it. Raises `Rejected` when the key may not read."""
    caller.require("read")
    may_read = replace(caller, scopes=frozenset({"read"}))
    return Identity(
        agent_id=f"key:{caller.name}",
        kind="human",
        permission="observer",
        expires=time.time() + KEY_SECONDS,
        topics=caller.topics,
        caller=may_read,
        hears_sessions=caller.sessions is not None,
        issued=time.time(),
    )


def subscription(head: Head) -> Subscribe:
    """What a request asks for. Raises `Rejected("invalid")`."""
    query = head.query()
    if unknown := sorted(set(query) - set(_PARAMETERS)):
        raise invalid(f"there is no parameter {unknown[0]!r}; there are: {', '.join(_PARAMETERS)}")
    if twice := [name for name, values in query.items() if len(values) > 1 and name != "topics"]:
        raise invalid(f"the parameter {twice[0]!r} is given more than once")
    wanted: dict[str, Any] = {
        "topics": [topic for value in query.get("topics", []) for part in value.split(",") if (topic := part.strip())]
    }
    if "mode" in query:
        wanted["mode"] = query["mode"][0]
    for name in ("filters", "peripheral_awareness"):
        if name in query:
            try:
                wanted[name] = msgspec.json.decode(query[name][0])
            except (msgspec.MsgspecError, RecursionError):
                raise invalid(f"`{name}` is not JSON") from None
    # A browser that connects again says where it was; its URL says where it began.
    names = ("last_event_id", "lastEventId", "since")
    if since := head.headers.get("last-event-id") or next((query[name][0] for name in names if query.get(name)), ""):
        wanted["since"] = _cursor(since)
    try:
        return msgspec.convert(wanted, Subscribe)
    except msgspec.ValidationError as fault:
        raise invalid(f"the query is not valid: {str(fault)[:1].lower()}{str(fault)[1:]}") from None


def _cursor(text: str) -> int | str:
    if text == "last":
        return text
    if not _NUMBER.match(text):
        raise invalid(f'{text[:40]!r} is no cursor: the `id` of an event, or "last"')
    return int(text)
