"""How a client says which events it wants: subscribe, unsubscribe, set_mode, infodump."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from services.ws_gateway.access import Identity
from services.ws_gateway.frames import error, message
from services.ws_gateway.replay import Claim
from services.ws_gateway.requests import Infodump, Request, SetMode, Subscribe, Taste, Unsubscribe
from shared.errors import Rejected, invalid
from shared.topics import MAX_PATTERNS, Topics, check_pattern

if TYPE_CHECKING:
    from services.ws_gateway.client import Client

MODES = ("everything",)
# Claims not yet met that a connection may have at a time; each costs a look at every event replayed.
MAX_CLAIMS = 16


def on_subscribe(client: "Client", identity: Identity, request: Subscribe) -> None:
    """Ask for more topics; with `since`, for their past as well."""
    _check_mode(request.mode)
    if request.filters:
        raise invalid("`filters` are not available in the mode `everything`; ask for narrower topics")
    topics = _checked(request.topics, identity)
    if not topics:
        raise invalid("`topics` names none; `#` is every topic")
    claim = Claim(Topics(topics), _position(client, request.since, topics))
    _ask(client, request, [*client.reader.claims(), claim], given=request.since is not None)


def on_unsubscribe(client: "Client", identity: Identity, request: Unsubscribe) -> None:
    """Give topics back."""
    given_back = client.reader.topics() if request.topics is None else frozenset(request.topics)
    claims = [
        Claim(Topics(kept), claim.after, claim.until)
        for claim in client.reader.claims()
        if (kept := claim.topics.patterns - given_back)
    ]
    _ask(client, request, claims, given=True)


def on_set_mode(client: "Client", identity: Identity, request: SetMode) -> None:
    """Choose which of the matching events come."""
    _check_mode(request.mode)
    _ask(client, request, client.reader.claims(), given=True)


def on_infodump(client: "Client", identity: Identity, request: Infodump) -> None:
    """Ask once for what has happened: all the ring holds, or after a cursor; of a topic, or of those in force."""
    hub = client.gateway.hub
    topics = client.reader.topics() if request.pattern is None else _checked([request.pattern], identity)
    if not topics:
        raise invalid("nothing is subscribed yet, so `pattern` must say what to look for")
    after = hub.ring.floor if request.since is None else _position(client, request.since, topics)
    claim = Claim(Topics(topics), min(after, hub.cursor), until=hub.cursor)
    _ask(client, request, [*client.reader.claims(), claim], given=True)


HANDLERS: dict[type[Request], Callable[["Client", Identity, Any], None]] = {
    Subscribe: on_subscribe,
    Unsubscribe: on_unsubscribe,
    SetMode: on_set_mode,
    Infodump: on_infodump,
}


def _check_mode(mode: str) -> None:
    if mode not in MODES:
        raise invalid(f"the mode {mode!r} is not available; there is: {', '.join(MODES)}", available=list(MODES))


def _checked(patterns: list[str], identity: Identity) -> frozenset[str]:
    if len(patterns) > MAX_PATTERNS:
        raise invalid(f"at most {MAX_PATTERNS} topics")
    topics = frozenset(check_pattern(pattern) for pattern in patterns)
    identity.caller.require("read")
    beyond = sorted(pattern for pattern in topics if not identity.hears(pattern))
    if beyond:
        raise Rejected("forbidden", f"the token does not allow {', '.join(beyond)}", topics=beyond)
    return topics


def _position(client: "Client", since: int | Literal["last"] | None, topics: frozenset[str]) -> int:
    """The cursor after which events are asked for."""
    hub = client.gateway.hub
    if since is None:
        return hub.cursor
    if since == "last":
        last = hub.ring.last_matching(Topics(topics).matches)
        return hub.cursor if last is None else last.cursor - 1
    if since < -1:
        raise invalid('`since` is a cursor, or "last"')
    # Where cursors begin with 1, nothing was before 0.
    return max(since, min(client.gateway.base, 1) - 1)


def _ask(client: "Client", request: Request, claims: list[Claim], *, given: bool) -> None:
    """Put the claims in force. `given` says that something of before goes on, so that it can be said to be whole."""
    topics = frozenset(pattern for claim in claims if claim.until is None for pattern in claim.topics.patterns)
    if len(topics) > MAX_PATTERNS:
        raise invalid(f"at most {MAX_PATTERNS} topics; {len(topics)} would be in force")
    if len(claims) > MAX_CLAIMS:
        raise Rejected("rate_limited", "older events are still coming for earlier requests; wait for them")
    named = {} if request.message_id is None else {"correlation_id": request.message_id}

    def answer(recovered: bool, position: int) -> bytes:
        if isinstance(request, Taste) and request.deflate is not None:
            client.deflate(wanted=request.deflate)
        return message(
            "subscribed", recovered=given and recovered, cursor=position, topics=sorted(topics), mode=MODES[0],
            **client.gateway.resumption.told(client, request, topics, MODES[0]), **named,
        )  # fmt: skip

    client.reader.ask(claims, answer, lambda rejected: error(rejected, request.message_id))
