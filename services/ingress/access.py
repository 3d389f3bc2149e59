"""Who is calling: API keys and access tokens, and the tokens and sign-ins this service gives out."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError

from services.ingress import login_codes
from shared.auth import Caller, KeyRing, sign, verify
from shared.errors import Rejected, invalid
from shared.messages import rfc3339
from shared.messages.envelope import PATTERNS, Id, Model, invalid_fields

ACCESS_SECONDS = 12 * 3600
_REMEMBERED_TOKENS = 1000


_TOPIC = r"^(\*|#|[^.*#\s\x00-\x1f\x7f]+)(\.(\*|#|[^.*#\s\x00-\x1f\x7f]+))*$"
Topic = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_TOPIC)]
PATTERNS[_TOPIC] = "be a topic: words between dots, `*` alone for one word, `#` alone for any number"


class TokenRequest(Model):
    """What `POST /api/tokens` takes."""

    agent_id: Id
    kind: Literal["human", "agent"] = "agent"
    permission: Literal["observer", "active"] = "observer"
    topics: Annotated[list[Topic], Field(max_length=100)] | None = None
    ttl_s: Annotated[int, Field(ge=1, le=7 * 24 * 3600)] = 3600


class LoginRequest(Model):
    """What `POST /api/login` takes: the code of a sign-in link."""

    code: Annotated[str, Field(min_length=1, max_length=4096)]


class Access:
    """Finds the caller of a request, and gives out tokens."""

    def __init__(self, keys: KeyRing, secret: str, folder: Path) -> None:
        self._keys = keys
        self._secret = secret
        self._folder = folder
        # Access tokens already checked, with the moment they expire: checking one anew costs as much as a request.
        self._tokens: dict[bytes, tuple[Caller, float]] = {}

    def caller(self, headers: Mapping[bytes, bytes]) -> Caller:
        """The caller named by `X-API-Key` or `Authorization: Bearer`. Raises `Rejected("unauthorized")`."""
        shown = headers.get(b"x-api-key")
        if shown is None:
            authorization = headers.get(b"authorization")
            if authorization is None:
                raise Rejected("unauthorized", "a key is needed: X-API-Key: KEY, or Authorization: Bearer KEY")
            scheme, _, shown = authorization.partition(b" ")
            if scheme.lower() != b"bearer":
                raise Rejected("unauthorized", "Authorization: Bearer KEY is expected")
        shown = shown.strip()
        # JWTs begin with the base64 of `{"`; keys never do.
        if shown.startswith(b"eyJ"):
            return self._token_bearer(shown)
        caller = self._keys.find(shown.decode("latin-1"))
        if caller is None:
            raise Rejected("unauthorized", "the key is wrong")
        return caller

    def _token_bearer(self, token: bytes) -> Caller:
        known = self._tokens.get(token)
        if known is not None and known[1] > time.time():
            return known[0]
        claims = verify(self._secret, "api", token.decode("latin-1"))
        caller = Caller(str(claims.get("name", "token")), frozenset(claims.get("scopes", [])))
        if len(self._tokens) >= _REMEMBERED_TOKENS:
            self._tokens.clear()
        self._tokens[token] = (caller, float(claims["exp"]))
        return caller

    async def sign_in(self, document: Any) -> dict[str, Any]:
        """Exchange a sign-in code, once, for an access token. Raises `Rejected`."""
        request = _read(LoginRequest, document)
        claims = verify(self._secret, "login", request.code)
        if not await asyncio.to_thread(login_codes.use, self._folder, claims["jti"], claims["exp"]):
            raise Rejected("unauthorized", "this sign-in link was used before; ask for a new one")
        scopes = [str(scope) for scope in claims.get("scopes", [])]
        token = sign(self._secret, "api", {"name": "dashboard", "scopes": scopes}, ttl_s=ACCESS_SECONDS)
        return {"access_token": token, "expires_in": ACCESS_SECONDS, "scopes": scopes}

    def socket_token(self, caller: Caller, document: Any) -> dict[str, Any]:
        """A token for the WebSocket. Raises `Rejected`: observing needs the scope `read`, acting `publish` as well."""
        request = _read(TokenRequest, document)
        caller.require("read")
        if request.permission == "active":
            caller.require("publish")
        claims: dict[str, Any] = {
            "sub": request.agent_id,
            "kind": request.kind,
            "permission": request.permission,
            "issued_to": caller.name,
        }
        if request.topics is not None:
            claims["topics"] = request.topics
        expires = datetime.fromtimestamp(time.time() + request.ttl_s, UTC)
        return {"token": sign(self._secret, "ws", claims, ttl_s=request.ttl_s), "expires": rfc3339(expires)}


def _read(shape: type[Any], document: Any) -> Any:
    if not isinstance(document, dict):
        raise invalid("the body is an object")
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        raise invalid_fields(error, "the body") from None
