"""Who may come in: tokens, web origins, and how many connections an agent, an address and the gateway hold."""

from collections import Counter
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar
from urllib.parse import urlsplit

import msgspec

from shared.auth import Caller, verify
from shared.errors import Rejected
from shared.messages.envelope import Scope
from shared.reach import Sessions, hears
from shared.topics import Topics, check_pattern

SUBPROTOCOL = "switchyard.v1"
_TOKEN_PROTOCOL = "token."  # noqa: S105 (a prefix, not a token)

BAD_TOKEN, NOT_ALLOWED, NOT_IN_TIME, TOO_MANY = 4401, 4403, 4408, 4409
TABS_OF_A_HUMAN = 5

Key = TypeVar("Key", bound=Hashable)


class Refused(Exception):
    """A connection is turned away, with the close code and the reason it is told."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class _Claims(msgspec.Struct):
    sub: str
    exp: float
    jti: str
    kind: Literal["human", "agent"]
    permission: Literal["observer", "active"]
    iat: float = 0.0
    topics: list[str] | None = None
    issued_to: str = ""
    scopes: tuple[Scope, ...] = ("read", "publish")
    sessions: list[str] | None = None
    hears_sessions: bool = False


_UNBOUND = Caller("", frozenset({"read", "publish"}))


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a token speaks for, and what it allows. `expires`: seconds since 1970.

    `caller` is the key it was given to, with the token's scopes and the key's sessions. It may hear `topics`, and with
    `hears_sessions` those of these sessions; all of them when it has neither.
    """

    agent_id: str
    kind: Literal["human", "agent"]
    permission: Literal["observer", "active"]
    expires: float
    topics: Topics | None = None
    caller: Caller = _UNBOUND
    hears_sessions: bool = False
    # The token's id and when it was made, by which it can be revoked.
    token_id: str = ""
    issued: float = 0.0

    def named(self) -> dict[str, str]:
        """What log lines call it."""
        return {
            "agent_id": self.agent_id,
            "kind": self.kind,
            "permission": self.permission,
            "caller": self.caller.name,
        }

    @property
    def is_admin(self) -> bool:
        """Whether it may see what is not meant for it: a person with the scope `admin`; an agent never is."""
        return self.kind == "human" and "admin" in self.caller.scopes

    def hears(self, pattern: str) -> bool:
        """Whether it may hear every topic of this pattern."""
        return hears(pattern, self.topics, self.caller.sessions if self.hears_sessions else None)


def identify(secret: str, token: str) -> Identity:
    """Who a token speaks for. Raises `Refused` with 4401 when it is malformed, expired or not for the WebSocket."""
    try:
        claims = msgspec.convert(verify(secret, "ws", token), _Claims)
        if not claims.sub:
            raise Refused(BAD_TOKEN, "the token names no agent")
        topics = None if claims.topics is None else Topics(check_pattern(pattern) for pattern in claims.topics)
    except Rejected as rejected:
        raise Refused(BAD_TOKEN, rejected.message) from None
    except msgspec.ValidationError as fault:
        raise Refused(BAD_TOKEN, f"the token's claims are not valid: {fault}") from None
    sessions = None if claims.sessions is None else Sessions(claims.sessions)
    caller = Caller(claims.issued_to, frozenset(claims.scopes), sessions)
    hears_sessions = claims.hears_sessions and sessions is not None
    return Identity(
        claims.sub, claims.kind, claims.permission, claims.exp, topics, caller, hears_sessions, claims.jti, claims.iat
    )


def offered_protocols(headers: Mapping[str, str]) -> list[str]:
    """The subprotocols a client offers."""
    return [protocol.strip() for protocol in headers.get("sec-websocket-protocol", "").split(",")]


def shown_token(path: str, headers: Mapping[str, str]) -> str | None:
    """The token shown with the handshake, if any. Raises `Refused` for one in the URL, where logs would keep it."""
    if "token" in urlsplit(path).query:
        raise Refused(BAD_TOKEN, "a token is never taken from the URL; use a header, a subprotocol or the first frame")
    scheme, _, credentials = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and credentials:
        return credentials.strip()
    if shown := headers.get("x-memory-auth"):
        return shown.removeprefix("Bearer ").strip()
    for protocol in offered_protocols(headers):
        if protocol.startswith(_TOKEN_PROTOCOL):
            return protocol.removeprefix(_TOKEN_PROTOCOL)
    return None


def check_origin(origin: str | None, allowed: frozenset[str]) -> None:
    """Browsers name the page's origin; whatever is not a browser names none. Raises `Refused` with 4403."""
    if origin is not None and origin.rstrip("/").lower() not in allowed:
        raise Refused(NOT_ALLOWED, "pages of this origin may not connect")


@dataclass(frozen=True, slots=True)
class Limits:
    """How many connections there may be."""

    total: int = 20_000
    per_address: int = 10_000
    unauthenticated: int = 1_000
    unauthenticated_per_address: int = 200


class Places:
    """The places taken. Whoever takes one gives it back."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.total = 0
        self._addresses: Counter[str] = Counter()
        self._strangers: Counter[str] = Counter()
        self._stranger_count = 0
        self._seats: Counter[tuple[str, str, str]] = Counter()

    def enter(self, address: str) -> None:
        """Take a place for a connection nobody has identified yet. Raises `Refused` with 4409."""
        limits = self.limits
        if (
            self.total >= limits.total
            or self._addresses[address] >= limits.per_address
            or self._stranger_count >= limits.unauthenticated
            or self._strangers[address] >= limits.unauthenticated_per_address
        ):
            raise Refused(TOO_MANY, "too many connections; try again later")
        self.total += 1
        self._addresses[address] += 1
        self._strangers[address] += 1
        self._stranger_count += 1

    def leave(self, address: str, identity: Identity | None, *, vacated: bool = False) -> None:
        """Give a place back; `vacated` says that its seat was before."""
        self.total -= 1
        _take_one(self._addresses, address)
        if identity is None:
            _take_one(self._strangers, address)
            self._stranger_count -= 1
        elif not vacated:
            self.vacate(identity)

    def vacate(self, identity: Identity) -> None:
        """Give an agent's seat back, for another connection of it, but keep the place until the socket is gone."""
        _take_one(self._seats, _seat(identity))

    def seat(self, address: str, identity: Identity) -> None:
        """Turn a stranger's place into an agent's. Raises `Refused` with 4409, the place staying a stranger's."""
        seat = _seat(identity)
        if identity.kind == "human" and self._seats[seat] >= TABS_OF_A_HUMAN:
            raise Refused(TOO_MANY, f"{identity.agent_id} has {TABS_OF_A_HUMAN} connections already")
        if identity.kind == "agent" and self._seats[seat] >= 1:
            raise Refused(TOO_MANY, f"{identity.agent_id} has an {identity.permission} connection already")
        self._seats[seat] += 1
        _take_one(self._strangers, address)
        self._stranger_count -= 1


def _seat(identity: Identity) -> tuple[str, str, str]:
    return identity.kind, identity.agent_id, identity.permission if identity.kind == "agent" else ""


def _take_one(counter: Counter[Key], key: Key) -> None:
    # A counter keeps its zeros, and addresses come and go for ever.
    if counter[key] <= 1:
        del counter[key]
    else:
        counter[key] -= 1
