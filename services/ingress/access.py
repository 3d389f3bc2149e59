"""Who is calling: API keys and access tokens, and the tokens and sign-ins this service gives out."""

import asyncio
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from services.ingress import login_codes
from services.ingress.calls import Headers
from shared.auth import Caller, new_token_id, sign, verify
from shared.errors import Rejected, invalid
from shared.key_making import NewKey, new_key
from shared.key_ring import KeyRing
from shared.messages import CommandSpec, rfc3339
from shared.messages.access import Topic
from shared.messages.envelope import Id, Model, Scope, invalid_fields
from shared.reach import beyond

ACCESS_SECONDS = 12 * 3600
_REMEMBERED_TOKENS = 1000


class TokenRequest(Model):
    """What `POST /api/tokens` takes."""

    agent_id: Id
    kind: Literal["human", "agent"] = "agent"
    permission: Literal["observer", "active"] = "observer"
    topics: Annotated[list[Topic], Field(max_length=100)] | None = None
    # None: an observer's `read`, else all the key has.
    scopes: Annotated[list[Scope], Field(min_length=1, max_length=4)] | None = None
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

    def caller(self, headers: Headers) -> Caller:
        """The caller named by `X-API-Key` or `Authorization: Bearer`, the request counted against the key's rate.

        Asked again of the same request, the answer is the same and nothing is counted. Raises `Rejected`:
        `unauthorized`, `rate_limited`, or `unavailable` when a key can't be checked yet.
        """
        if headers.caller is None:
            headers.caller = self._identify(headers)
            headers.caller.count()
        return headers.caller

    def check(self, headers: Headers) -> None:
        """Look again who calls, without counting it. Raises `Rejected("unauthorized")`: revoked, or expired."""
        headers.caller = self._identify(headers)

    def _identify(self, headers: Headers) -> Caller:
        shown = shown_key(headers)
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

    def new_key(self, spec: CommandSpec, document: dict[str, Any], caller: Caller, message_id: str) -> NewKey | None:
        """The API key that this door makes for a command, if the command asks for one."""
        return new_key(spec, document, secret=self._secret, caller=caller.name, message_id=message_id)

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
        """A token for the WebSocket, which allows no more than the caller's key does.

        Its `token_id` is what it can be revoked by, `scopes` are its own. Raises `Rejected("forbidden")`: observing
        needs the scope `read`, acting `publish` or `agent`; scopes and topics must lie within the key's.
        """
        request = _read(TokenRequest, document)
        caller.require("read" if request.permission == "observer" else "agent")
        for scope in request.scopes or ():
            caller.require(scope)
        scopes = _scopes(caller, request)
        claims: dict[str, Any] = {
            "sub": request.agent_id,
            "kind": request.kind,
            "permission": request.permission,
            "issued_to": caller.name,
            "scopes": scopes,
        }
        if caller.sessions is not None:
            claims["sessions"] = caller.sessions.patterns
        if request.topics is not None:
            _check_topics(caller, request.topics)
            claims["topics"] = request.topics
        else:
            if caller.topics is not None:
                claims["topics"] = sorted(caller.topics.patterns)
            # The topics of its sessions, which no list of patterns can name when the key has beginnings of ids.
            claims["hears_sessions"] = caller.sessions is not None
        expires = datetime.fromtimestamp(time.time() + request.ttl_s, UTC)
        token_id = new_token_id()
        token = sign(self._secret, "ws", claims, ttl_s=request.ttl_s, token_id=token_id)
        return {"token": token, "token_id": token_id, "expires": rfc3339(expires), "scopes": scopes}


def _scopes(caller: Caller, request: TokenRequest) -> list[str]:
    if request.scopes is not None:
        return sorted(set(request.scopes))
    return ["read"] if request.permission == "observer" else sorted(caller.scopes)


def _check_topics(caller: Caller, topics: list[str]) -> None:
    denied = beyond(topics, caller.topics, caller.sessions)
    if not denied:
        return
    allowed = sorted(caller.topics.patterns) if caller.topics else []
    sessions = list(caller.sessions.patterns) if caller.sessions else []
    raise Rejected(
        "forbidden",
        f"the key {caller.name!r} may not hear {', '.join(denied)}; it may hear "
        f"{', '.join(allowed) or 'no topics by name'}"
        + (f", and session.ID.#, memory.ID.# and task.ID.# of the sessions {caller.sessions}" if sessions else ""),
        denied=denied,
        topics=allowed,
        sessions=sessions,
    )


def _read(shape: type[Any], document: Any) -> Any:
    if not isinstance(document, dict):
        raise invalid("the body is an object")
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        raise invalid_fields(error, "the body") from None


def shown_key(headers: Headers) -> bytes:
    """What `X-API-Key` or `Authorization: Bearer` shows, unchecked. Raises `Rejected`: neither is there."""
    shown = headers.get(b"x-api-key")
    if shown is None:
        authorization = headers.get(b"authorization")
        if authorization is None:
            raise Rejected("unauthorized", "a key is needed: X-API-Key: KEY, or Authorization: Bearer KEY")
        scheme, _, shown = authorization.partition(b" ")
        if scheme.lower() != b"bearer":
            raise Rejected("unauthorized", "Authorization: Bearer KEY is expected")
    return shown.strip()
