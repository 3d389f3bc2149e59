"""Keys and tokens: API keys kept as hashes, signed tokens (JWT, HMAC-SHA256) for the WebSocket and the dashboard."""

import hashlib
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jwt

from shared.errors import Rejected
from shared.messages.envelope import Scope

SCOPES: frozenset[Scope] = frozenset(get_args(Scope))
LOGIN_SECONDS = 15 * 60


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: a key's or a token's name, and what it may do."""

    name: str
    scopes: frozenset[str]

    def require(self, scope: Scope) -> None:
        """Raise `Rejected("forbidden")` unless the caller has the scope.

        `admin` includes every other; who may publish may also do an agent's work.
        """
        enough = {scope, "admin", "publish"} if scope == "agent" else {scope, "admin"}
        if self.scopes.isdisjoint(enough):
            raise Rejected("forbidden", f"the key {self.name!r} lacks the scope {scope!r}", scope=scope)


def hash_key(key: str) -> bytes:
    """What is stored of an API key. Keys are long and random, so one round of SHA-256 is enough."""
    return hashlib.sha256(key.encode()).digest()


def make_key() -> str:
    """A new random API key."""
    return f"sy_{secrets.token_urlsafe(32)}"


class KeyRing:
    """The API keys in force, by hash."""

    def __init__(self, bootstrap_key: str) -> None:
        """`bootstrap_key` has every scope and works with the database away."""
        self._bootstrap = hash_key(bootstrap_key)
        self._callers: dict[bytes, Caller] = {}

    def find(self, key: str) -> Caller | None:
        """The caller a key belongs to; takes the same time for any wrong key."""
        digest = hash_key(key)
        if hmac.compare_digest(digest, self._bootstrap):
            return Caller("bootstrap", SCOPES)
        return self._callers.get(digest)

    def replace(self, callers: dict[bytes, Caller]) -> None:
        """Put other keys in force beside the bootstrap key."""
        self._callers = callers


def sign(secret: str, audience: Literal["ws", "api", "login"], claims: dict[str, Any], *, ttl_s: float) -> str:
    """A JWT of these claims for one audience, valid for `ttl_s` seconds."""
    issued = time.time()
    return jwt.encode(
        {**claims, "aud": audience, "iat": int(issued), "exp": int(issued + ttl_s), "jti": secrets.token_urlsafe(12)},
        secret,
        algorithm="HS256",
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
    """The code of a one-use sign-in link for the dashboard, good for 15 minutes."""
    return sign(secret, "login", {"scopes": ["read", "publish"]}, ttl_s=LOGIN_SECONDS)
