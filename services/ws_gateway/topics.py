"""How a client says which events it wants: subscribe, unsubscribe, set_mode, infodump."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from services.ws_gateway.door.access import Identity
from services.ws_gateway.fanout.filters import NO_FOCUS, read_focus
from services.ws_gateway.fanout.interest import Interest, may_hear, topics_of
from services.ws_gateway.history.replay import Claim, lasting_interest
from services.ws_gateway.requests import Infodump, Mode, Request, SetMode, Subscribe, Taste, Unsubscribe
from services.ws_gateway.stream.frames import error, message
from shared.errors import Rejected, invalid
from shared.topics import MAX_PATTERNS, check_pattern

if TYPE_CHECKING:
    from services.ws_gateway.client import Client

# Claims not yet met that a connection may have at a time; each costs a look at every event replayed.
MAX_CLAIMS = 16


def on_subscribe(client: "Client", identity: Identity, request: Subscribe) -> None:
    """Ask for more topics; with `since`, for their past as well."""
    taste = _taste(client, request.mode, request)
    topics = _checked(request.topics, identity)
    if not topics:
        raise invalid("`topics` names none; `#` is every topic")
    claim = Claim(taste.of(topics), _position(client, request.since, topics))
    _ask(client, request, [*_claims(client, taste), claim], taste, given=request.since is not None)


def on_unsubscribe(client: "Client", identity: Identity, request: Unsubscribe) -> None:
    """Give topics back."""
    given_back = client.reader.topics() if request.topics is None else frozenset(request.topics)
    claims = [
        replace(claim, interest=claim.interest.of(kept))
        for claim in client.reader.claims()
        if (kept := claim.interest.topics - given_back)
    ]
    _ask(client, request, claims, client.reader.taste, given=True)


def on_set_mode(client: "Client", identity: Identity, request: SetMode) -> None:
    """Choose which of the matching events come."""
    taste = _taste(client, request.mode, request)
    _ask(client, request, _claims(client, taste), taste, given=True)


def on_infodump(client: "Client", identity: Identity, request: Infodump) -> None:
    """Ask once for all that has happened, whatever the mode: all the ring holds, or in a range; of a topic, or of
    those in force.
    """
    hub = client.gateway.hub
    topics = client.reader.topics() if request.pattern is None else _checked([request.pattern], identity)
    if not topics:
        raise invalid("nothing is subscribed yet, so `pattern` must say what to look for")
    after = hub.ring.floor if request.since is None else _position(client, request.since, topics)
    until = hub.cursor if request.until is None else min(request.until, hub.cursor)
    if request.until is not None and request.until < after:
        if request.since is None:
            raise invalid(f"the events in memory begin after {after}; say from which cursor on by `since`")
        raise invalid(f"`until` ({request.until}) lies before `since` ({after})")
    claim = Claim(Interest(topics), min(after, until), until=until)
    _ask(client, request, [*client.reader.claims(), claim], client.reader.taste, given=True)


HANDLERS: dict[type[Request], Callable[["Client", Identity, Any], None]] = {
    Subscribe: on_subscribe,
    Unsubscribe: on_unsubscribe,
    SetMode: on_set_mode,
    Infodump: on_infodump,
}


def _taste(client: "Client", mode: Mode | None, request: Taste) -> Interest:
    """How the client wants its topics from now on: what it does not say stays as it was."""
    before = client.reader.taste
    mode = mode or before.mode
    focus = NO_FOCUS
    if mode == "focused":
        focus = before.focus if request.filters is None else read_focus(request.filters)
        if not focus:
            raise invalid("the mode `focused` needs `filters` with topics, tags or words")
    elif request.filters is not None:
        raise invalid(f"`filters` belong to the mode `focused`; in the mode `{mode}` ask for narrower topics")
    awareness = request.peripheral_awareness
    return Interest(
        mode=mode, focus=focus, peripheral_awareness=before.peripheral_awareness if awareness is None else awareness
    )


def _claims(client: "Client", taste: Interest) -> list[Claim]:
    """What is claimed now; what is claimed for ever, in another taste."""
    return [
        claim if claim.until is not None else replace(claim, interest=taste.of(claim.interest.topics))
        for claim in client.reader.claims()
    ]


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
        connection, matches = client.connection, topics_of(topics).matches
        last = hub.ring.last(
            lambda frame: matches(frame.routing_key) and may_hear(frame, connection.agent_id, connection.is_admin)
        )
        return hub.cursor if last is None else last.cursor - 1
    if since < -1:
        raise invalid('`since` is a cursor, or "last"')
    # Where cursors begin with 1, nothing was before 0.
    return max(since, min(client.gateway.base, 1) - 1)


def _ask(client: "Client", request: Request, claims: list[Claim], taste: Interest, *, given: bool) -> None:
    """Put the claims in force. `given` says that something of before goes on, so that it can be said to be whole."""
    topics = lasting_interest(claims).topics
    if len(topics) > MAX_PATTERNS:
        raise invalid(f"at most {MAX_PATTERNS} topics; {len(topics)} would be in force")
    if len(claims) > MAX_CLAIMS:
        raise Rejected("rate_limited", "older events are still coming for earlier requests; wait for them")
    if isinstance(request, Taste):
        client.gateway.pacing.wish(client, request)
    named = {} if request.message_id is None else {"correlation_id": request.message_id}
    filters = {"filters": taste.focus.told()} if taste.focus else {}
    in_force: dict[str, Any] = {**filters, "peripheral_awareness": taste.peripheral_awareness}

    def answer(recovered: bool, position: int) -> bytes:
        if isinstance(request, Taste) and request.deflate is not None:
            client.deflate(wanted=request.deflate)
        return message(
            "subscribed", recovered=given and recovered, cursor=position, topics=sorted(topics), mode=taste.mode,
            **in_force, **client.gateway.resumption.told(client, request, topics, taste.mode), **named,
        )  # fmt: skip

    def fail(rejected: Rejected) -> bytes:
        client.answers.forget(request.message_id)
        return error(rejected, request.message_id)

    client.reader.ask(claims, taste, answer, fail)
