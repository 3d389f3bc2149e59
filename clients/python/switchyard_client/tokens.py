"""Where a connection's token comes from: it was given, stands in a file, or is asked for with an API key.

A source is asked for a token before each connection, and told with `renew=True` when the last one was turned away.
"""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path

from switchyard_client.errors import ConnectionRefused

# Given whether the last token was turned away; returns a token or raises `ConnectionRefused`, or OSError to be asked
# again later.
TokenSource = Callable[[bool], Awaitable[str]]

_SECONDS = 10.0
# So long before its end a token is asked for anew.
_SPARE_SECONDS = 60.0


def token_given(token: str) -> TokenSource:
    """Always this token: once it has expired there is no other."""

    async def source(renew: bool) -> str:
        if renew:
            raise ConnectionRefused(4401, "the token is bad, expired or revoked")
        return token

    return source


def token_from_file(path: Path) -> TokenSource:
    """What stands in a file now, so that whoever looks after the machine can put a fresh token there."""
    last = ""

    async def source(renew: bool) -> str:
        nonlocal last
        found = path.read_text().strip()
        if renew and found == last:
            raise ConnectionRefused(4401, f"the token in {path} is bad, expired or revoked; put a new one there")
        last = found
        return found

    return source


def token_by_key(api_url: str, key: str, agent_id: str, *, ttl_s: int = 86_400) -> TokenSource:
    """Tokens of an agent, asked for at `POST /api/tokens` with an API key as they are needed."""
    token, until = "", 0.0

    async def source(renew: bool) -> str:
        nonlocal token, until
        if renew or time.monotonic() > until:
            token = await asyncio.to_thread(_ask, api_url, key, agent_id, ttl_s)
            until = time.monotonic() + max(0.0, ttl_s - _SPARE_SECONDS)
        return token

    return source


def _ask(api_url: str, key: str, agent_id: str, ttl_s: int) -> str:
    """One request. Raises OSError where nobody answers, `ConnectionRefused` for a refusal."""
    body = {"agent_id": agent_id, "kind": "agent", "permission": "active", "ttl_s": ttl_s}
    request = urllib.request.Request(  # noqa: S310 - the scheme is the user's own
        f"{api_url.rstrip('/')}/api/tokens",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "X-API-Key": key},
        method="POST",
    )
    try:
        with urllib.request.urlopen(request, timeout=_SECONDS) as answer:  # noqa: S310
            token: str = json.load(answer)["token"]
            return token
    except urllib.error.HTTPError as error:
        with error:
            said = error.read(2_000).decode(errors="replace")
        if error.code in (429, 502, 503, 504):
            raise OSError(f"{api_url} gives no token now: {error.code}") from None
        try:
            said = json.loads(said)["detail"]
        except (ValueError, KeyError, TypeError):
            said = said[:200]
        raise ConnectionRefused(4401, f"{api_url} gives no token: {error.code} {said}") from None
