"""Resume tokens: what a connection had subscribed to, sealed, so that another one of its agent can go on with it.

A token is `body.seal`, both base64url (RFC 4648 §5) without padding: the body is JSON, a long one compressed by zlib,
and the seal an HMAC-SHA256 over the body's text, with a key of its own. Nothing of it is kept anywhere; the worker
notes which connections were resumed, so that each is once, at whatever replica.
"""

import hashlib
import hmac
import secrets
import time
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal, Protocol
from uuid import UUID, uuid5

import msgspec

from services.ws_gateway import topics
from services.ws_gateway.commands import tell_refused
from services.ws_gateway.door.access import Identity
from services.ws_gateway.door.audit import Audit
from services.ws_gateway.requests import Mode, Request, Resume, Subscribe, Taste, Unsubscribe
from services.ws_gateway.stream.frames import error
from shared.errors import BusError, Rejected

if TYPE_CHECKING:
    from services.ws_gateway.client import Client

VALID_SECONDS = 7 * 24 * 3600.0
# A frame that shows it must be below 64 KiB. What is subscribed to in more than that goes on without its topics.
_LONGEST_GIVEN = 60_000
# What is longer is compressed.
_PACKED_FROM = 1_000
_USES = UUID("4f7d3f0e-6a6b-4d55-9a52-6f0e6c1f6d11")

Wrong = Literal["altered", "foreign", "expired", "reused"]
_DETAILS: dict[Wrong, str] = {
    "altered": "the resume token was not given by this gateway, or was altered",
    "foreign": "the resume token was given to another agent",
    "expired": "the resume token has expired",
    "reused": "the connection of this resume token was resumed before",
}


class Wants(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a connection has subscribed to, in the fields of `subscribe`."""

    topics: list[str] = []
    mode: Mode = "everything"
    taste: dict[str, Any] = {}


class Sealed(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a token says. `issued`: seconds since 1970."""

    agent_id: str
    kind: Literal["human", "agent"]
    connection_id: str
    issued: float
    nonce: str
    wants: Wants


class WrongToken(Exception):
    """A resume token that must not be honoured; `connection_id` where its seal was good."""

    def __init__(self, wrong: Wrong, connection_id: str | None = None) -> None:
        super().__init__(_DETAILS[wrong])
        self.wrong = wrong
        self.connection_id = connection_id


class Seal:
    """Makes tokens and opens them."""

    def __init__(self, secret: str) -> None:
        self._key = hmac.digest(secret.encode(), b"resume token, version 1", hashlib.sha256)
        self._encode = msgspec.json.Encoder().encode
        self._decode = msgspec.json.Decoder(Sealed).decode

    def token(self, identity: Identity, connection_id: str, wants: Wants) -> str:
        """A new token of a connection."""
        sealed = Sealed(
            agent_id=identity.agent_id,
            kind=identity.kind,
            connection_id=connection_id,
            issued=time.time(),
            nonce=secrets.token_urlsafe(9),
            wants=wants,
        )
        text = self._encode(sealed)
        body = urlsafe_b64encode(zlib.compress(text, 1) if len(text) > _PACKED_FROM else text).rstrip(b"=")
        if len(body) > _LONGEST_GIVEN:
            return self.token(identity, connection_id, Wants())
        return (b"%b.%b" % (body, self._over(body))).decode()

    def _over(self, body: bytes) -> bytes:
        return urlsafe_b64encode(hmac.digest(self._key, body, hashlib.sha256)).rstrip(b"=")

    def open(self, token: str, identity: Identity) -> Sealed:
        """What a token says that was given to this agent. Raises `WrongToken`."""
        text = token.encode("utf-8", "replace")
        body, _, seal = text.partition(b".")
        if not hmac.compare_digest(self._over(body), seal):
            raise WrongToken("altered")
        # Decoded only now: nobody else can have made it.
        document = urlsafe_b64decode(body + b"=" * (-len(body) % 4))
        sealed = self._decode(document if document.startswith(b"{") else zlib.decompress(document))
        if (sealed.agent_id, sealed.kind) != (identity.agent_id, identity.kind):
            raise WrongToken("foreign", sealed.connection_id)
        if sealed.issued + VALID_SECONDS <= time.time():
            raise WrongToken("expired", sealed.connection_id)
        return sealed


# Notes that a connection was resumed by another, given both ids, the agent and the message id. Raises `Rejected`
# ("conflict": it was before), `BusError` or TimeoutError.
Use = Callable[[str, str, str, str], Awaitable[None]]


class Alert(Protocol):
    """Tells the admins of what looks like an attack."""

    def __call__(
        self, what: Any, address: str, detail: str, *, agent_id: str | None = None, connection_id: str | None = None
    ) -> None:
        """`what` is one of `SecurityAlert`'s."""


def tell_nobody(what: Any, address: str, detail: str, **about: str | None) -> None:
    """Where nobody listens."""


async def no_use(connection_id: str, agent_id: str, resumed_as: str, message_id: str) -> None:
    """Where nothing is behind the gateway."""
    raise Rejected("unavailable", "nothing notes which connections were resumed")


class Resumption:
    """Lets connections go on with what others had."""

    def __init__(self, secret: str, audit: Audit, use: Use, alert: Alert = tell_nobody) -> None:
        self._seal = Seal(secret)
        self._audit = audit
        self._use = use
        self._alert = alert
        self.outcomes: Counter[str] = Counter()

    def token(self, client: "Client", identity: Identity) -> str:
        """The token of a connection that has subscribed to nothing yet."""
        return self._seal.token(identity, client.id, Wants())

    def told(self, client: "Client", request: Request, topics: Iterable[str], mode: Mode) -> dict[str, str]:
        """What `subscribed` says besides: the token in force from now on, and of what this goes on, if that is new.

        `topics` and `mode` are those in force once `request` is answered.
        """
        identity = client.identity
        assert identity is not None
        if isinstance(request, Taste):
            client.taste = {**client.taste, **taste_of(request)}
        self._audit.note("subscribe", identity, client.id)
        resumed, client.tells_resumed = client.tells_resumed, None
        named = {} if resumed is None else {"resumed": resumed}
        if mode != "focused":
            # Another mode has no filters, and takes none.
            client.taste.pop("filters", None)
        wants = Wants(topics=sorted(topics), mode=mode, taste=client.taste)
        return {**named, "resume_token": self._seal.token(identity, client.id, wants)}

    def open(self, client: "Client", identity: Identity, token: str) -> Sealed:
        """What a token shown on a connection says. Raises `Rejected`, and tells the admins if it was not for it."""
        try:
            sealed = self._seal.open(token, identity)
        except WrongToken as wrong:
            raise self._refused(client, identity, wrong) from None
        if sealed.connection_id == client.id:
            raise Rejected("conflict", "this resume token is of this connection, which goes on anyway")
        return sealed

    def _refused(self, client: "Client", identity: Identity, wrong: WrongToken) -> Rejected:
        self.outcomes[wrong.wrong] += 1
        self._audit.note("resume", identity, wrong.connection_id or client.id, f"forbidden: {wrong.wrong}")
        self._alert(
            f"resume_token_{wrong.wrong}", client.address, str(wrong),
            agent_id=identity.agent_id, connection_id=wrong.connection_id,
        )  # fmt: skip
        return Rejected("forbidden", f"{wrong}; subscribe with `since` instead")

    async def use(self, client: "Client", identity: Identity, sealed: Sealed) -> None:
        """Note that this connection goes on with another, which is closed if it is still there. Raises `Rejected`."""
        connection_id = sealed.connection_id
        if client.takes_over == connection_id:
            return
        try:
            # One id for each pair, so that asking again after a timeout is answered as the first time.
            message_id = str(uuid5(_USES, f"{connection_id} {client.id}"))
            await self._use(connection_id, identity.agent_id, client.id, message_id)
        except Rejected as rejected:
            if rejected.code == "conflict":
                raise self._refused(client, identity, WrongToken("reused", connection_id)) from None
            raise self._unavailable() from None
        except (BusError, TimeoutError):
            raise self._unavailable() from None
        self.outcomes["ok"] += 1
        self._audit.note("resume", identity, connection_id)
        client.takes_over = connection_id
        client.gateway.take_over(client, connection_id)

    def _unavailable(self) -> Rejected:
        self.outcomes["unavailable"] += 1
        return Rejected(
            "unavailable",
            "it can't be seen now whether this was resumed before; subscribe with `since` instead, or try again",
            retry_after=2,
        )

    async def go_on(self, client: "Client", identity: Identity, request: Resume | Subscribe, sealed: Sealed) -> None:
        """Use a token and answer the frame that showed it."""
        try:
            await self.use(client, identity, sealed)
            if client.closing:
                return
            client.tells_resumed = sealed.connection_id
            _subscribe(client, identity, request, sealed.wants)
        except Rejected as rejected:
            client.tells_resumed = None
            if rejected.code == "unavailable":
                client.answers.forget(request.message_id)
            tell_refused(identity, rejected, address=client.address, frame=type(request).__name__)
            client.send(error(rejected, request.message_id))


def _subscribe(client: "Client", identity: Identity, request: Resume | Subscribe, wants: Wants) -> None:
    """Put in force again what a connection had, as far as it is still allowed, and what is asked for besides."""
    given = request if isinstance(request, Subscribe) else None
    asked = list(dict.fromkeys([*wants.topics, *(given.topics if given else ())]))
    if not asked:
        topics.on_unsubscribe(client, identity, Unsubscribe(message_id=request.message_id, topics=[]))
        return
    mode = (given.mode if given else None) or wants.mode
    taste = {name: value for name, value in wants.taste.items() if name != "filters" or mode == "focused"}
    whole = msgspec.convert(
        {**taste, "type": "subscribe", "topics": asked, "mode": mode, "since": request.since}, Subscribe
    )
    if given:
        own = {name: value for name in _TASTE if (value := getattr(given, name)) is not None}
        whole = msgspec.structs.replace(whole, **own, warmup=given.warmup)
    topics.on_subscribe(client, identity, msgspec.structs.replace(whole, message_id=request.message_id))


_TASTE = tuple(field for field in Taste.__struct_fields__ if field not in Request.__struct_fields__)


def taste_of(request: Taste) -> dict[str, Any]:
    """What a frame says of how events are wanted, as a token holds it."""
    return {name: msgspec.to_builtins(value) for name in _TASTE if (value := getattr(request, name)) is not None}


def on_resume(client: "Client", identity: Identity, request: Resume) -> None:
    """Go on with an earlier connection."""
    sealed = client.gateway.resumption.open(client, identity, request.resume_token)
    client.spawn(client.gateway.resumption.go_on(client, identity, request, sealed))


def on_subscribe(client: "Client", identity: Identity, request: Subscribe) -> None:
    """Ask for topics, besides those of an earlier connection when its token is shown."""
    if request.resume_token is None:
        topics.on_subscribe(client, identity, request)
        return
    sealed = client.gateway.resumption.open(client, identity, request.resume_token)
    client.spawn(client.gateway.resumption.go_on(client, identity, request, sealed))


HANDLERS: dict[type[Request], Callable[..., None]] = {Resume: on_resume, Subscribe: on_subscribe}
