"""Keys and tokens: API keys kept as hashes, signed tokens (JWT, HMAC-SHA256) for the WebSocket and the dashboard."""

import hashlib
import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import jwt

from shared.errors import Rejected
from shared.limits import Bucket
from shared.messages.batch import Batch, refused_at
from shared.messages.commands import CommandData, CommandSpec
from shared.messages.envelope import Scope
from shared.reach import Sessions
from shared.topics import Topics

SCOPES: frozenset[Scope] = frozenset(get_args(Scope))
LOGIN_SECONDS = 15 * 60
# What every key but the bootstrap key begins with, so that logs can tell one by its looks.
KEY_PREFIX = "sy_"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: a key's or a token's name, what it may do, where, and how often.

    `sessions`: the only ones it may work in; `topics`: what it may hear besides theirs; None: no such bound.
    """

    name: str
    scopes: frozenset[str]
    sessions: Sessions | None = None
    topics: Topics | None = None
    bucket: Bucket | None = field(default=None, compare=False)

    def require(self, scope: Scope) -> None:
        """Raise `Rejected("forbidden")` unless the caller has the scope.

        `admin` includes every other; who may publish may also do an agent's work.
        """
        enough = {scope, "admin", "publish"} if scope == "agent" else {scope, "admin"}
        if self.scopes.isdisjoint(enough):
            raise Rejected("forbidden", f"the key {self.name!r} lacks the scope {scope!r}", scope=scope)

    def permit(self, spec: CommandSpec, data: CommandData) -> None:
        """Raise `Rejected("forbidden")` unless the caller may run a command with this data, already checked.

        Of a batch, every command within: who may write may not read by way of a batch.
        """
        self.require(spec.scope)
        if data.further_scope is not None:
            self.require(data.further_scope)
        if isinstance(data, Batch):
            for index, part in enumerate(data.parts):
                try:
                    self.permit(part.spec, part.data)
                except Rejected as refusal:
                    raise refused_at(index, part.spec.name, refusal) from None
        elif self.sessions is not None:
            self.enter(getattr(data, "session_id", None))
            for session_id in data.read_session_ids:
                self.enter(session_id)

    def enter(self, session_id: str | None) -> None:
        """Raise `Rejected("forbidden")` unless the caller may work in a session, or, with None, outside of any."""
        if self.sessions is None or (session_id is not None and self.sessions.allow(session_id)):
            return
        said = "this names no session" if session_id is None else f"the session {session_id!r} is not on its list"
        raise Rejected(
            "forbidden",
            f"the key {self.name!r} may only run commands whose `session_id` is one of {self.sessions}: {said}",
            sessions=list(self.sessions.patterns),
        )

    def count(self) -> None:
        """Count a request. Raises `Rejected("rate_limited")` when the key has made too many of late."""
        bucket = self.bucket
        if bucket is None or bucket.take():
            return
        raise Rejected(
            "rate_limited",
            f"the key {self.name!r} may make {bucket.burst:.0f} requests a minute; try again in {bucket.wait_s:.1f} s",
            limit=int(bucket.burst),
            window_s=60,
            retry_after=round(bucket.wait_s, 3),
        )


def hash_key(key: str) -> bytes:
    """What is stored of an API key. Keys are long and random, so one round of SHA-256 is enough."""
    return hashlib.sha256(key.encode()).digest()


def make_key() -> str:
    """A new random API key."""
    return f"{KEY_PREFIX}{secrets.token_urlsafe(32)}"


def derive_key(secret: str, caller: str, message_id: str) -> str:
    """The API key that a caller's `create_key` under this message id makes, the same each time, and kept nowhere.

    Nobody without Switchyard's own secret can tell it, though they know the rest.
    """
    seal = hmac.digest(secret.encode(), f"api key\n{caller}\n{message_id}".encode(), hashlib.sha256)
    return f"{KEY_PREFIX}{urlsafe_b64encode(seal).decode().rstrip('=')}"


def new_token_id() -> str:
    """An id for a token (JWT `jti`), by which it can be revoked."""
    return secrets.token_urlsafe(12)


def sign(
    secret: str,
    audience: Literal["ws", "api", "login"],
    claims: dict[str, Any],
    *,
    ttl_s: float,
    token_id: str | None = None,
) -> str:
    """A JWT of these claims for one audience, valid for `ttl_s` seconds."""
    issued = time.time()
    # With its fraction: tokens made right after those of their agent were revoked are good.
    moments = {"iat": round(issued, 6), "exp": int(issued + ttl_s)}
    return jwt.encode(
        {**claims, "aud": audience, **moments, "jti": token_id or new_token_id()}, secret, algorithm="HS256"
    )


def verify(secret: str, audience: Literal["ws", "api", "login"], token: str) -> dict[str, Any]:
    """The claims of a token. Raises `Rejected("unauthorized")` when malformed, expired, or made for another use."""
    try:
        claims: dict[str, Any] = jwt.decode(
            token, secret, algorithms=["HS256"], audience=audience, options={"require": ["exp", "aud", "jti"]}
        )
    except jwt.ExpiredSignatureError:
        raise Rejected("unauthorized", "the token has expired; ask for a new one") from None
    except (jwt.PyJWTError, ValueError, OverflowError) as error:
        # Not only PyJWT's own: text that is no UTF-8, and a moment too far away, fail below it.
        raise Rejected("unauthorized", f"the token is not valid: {error}") from None
    return claims


def login_code(secret: str) -> str:
    """The code of a one-use sign-in link for the dashboard, good for 15 minutes.

    It may do everything: whoever can make one has the secret, and so could make any token.
    """
    return sign(secret, "login", {"scopes": ["read", "publish", "admin"]}, ttl_s=LOGIN_SECONDS)
