"""Campfire as bots post to it: one request each, and what its answer means. The bot's key is a part of each address.

Redirects are not followed: they would carry the key elsewhere. What Campfire says is read up to a limit.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Literal
from urllib.parse import urlsplit

import httpx
import orjson

from services.claude_worker.posting.text import reads_like
from shared import __version__

# What a request may take: to be connected, to be answered, and altogether.
CONNECT_SECONDS = 4.0
ANSWER_SECONDS = 8.0
DEADLINE_SECONDS = 10.0
# What is read of an answer; of a page of messages more.
MAX_ANSWER = 64 * 1024
MAX_PAGE = 8 * 1024 * 1024
MAX_PAGES = 5
# Requests at the same time to one server.
AT_ONCE = 8
_REF = re.compile(r"/messages/(\d{1,20})/?$")
_KEY = re.compile(r"/rooms/[^/]+/(?P<bot>\d+)-[^/]+/messages")
# Statuses after which the next attempt may go better.
_PASSING = (408, 425, 429)

_WHY = {
    401: "Campfire does not accept the bot's key (401)",
    403: "Campfire refuses it (403)",
    404: "the bot is no member of the room, or the room is gone (404)",
    413: "it is too long for Campfire (413)",
    422: "Campfire finds it blank (422)",
}


@dataclass(frozen=True, slots=True)
class Posted:
    """What came of a request.

    `sent`: it is in the room, as message `ref` if Campfire says so. `refused`: it never will be. `again`: later,
    perhaps; `unsure` if it may be in the room all the same. `wait`: how many seconds Campfire asks for.
    """

    what: Literal["sent", "refused", "again"]
    ref: str | None = None
    reason: str | None = None
    unsure: bool = False
    wait: float = 0.0
    status: int | None = None


class Campfire:
    """Every Campfire that sources name."""

    def __init__(self) -> None:
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
        self._http = httpx.AsyncClient(
            headers={"User-Agent": f"Switchyard/{__version__}", "Content-Type": "text/html; charset=utf-8"},
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            limits=limits,
            follow_redirects=False,
            trust_env=False,
            # Cookies are not kept.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )
        self._servers: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(AT_ONCE))

    async def close(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    @asynccontextmanager
    async def turn_at(self, url: str) -> AsyncIterator[None]:
        """A place among the requests that are under way to a server."""
        async with self._servers[urlsplit(url).netloc]:
            yield

    async def post(self, url: str, html: str) -> Posted:
        """Post a message to a room."""
        return await self._send("POST", url, html)

    async def edit(self, url: str, ref: str, html: str) -> Posted:
        """Change a message of the bot's own."""
        return await self._send("PATCH", f"{url}/{ref}", html)

    async def find(self, url: str, after: str | None, html: str | None) -> str | None:
        """The first message of the bot in a room after message `after` that reads like `html`, or like anything.

        None as well when Campfire does not show bots what is in a room.
        """
        bot = _KEY.search(url)
        for _ in range(MAX_PAGES):
            try:
                async with self._requesting("GET", f"{url}?after={after}" if after else url) as response:
                    if response.status_code != 200:
                        return None
                    page = orjson.loads(await _read(response, MAX_PAGE))
            except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, orjson.JSONDecodeError):
                return None
            found = [_message(each) for each in page] if isinstance(page, list) else []
            own = [each for each in found if each and bot and each.by == bot["bot"] and _is_after(each.ref, after)]
            for message in own:
                if html is None or reads_like(message.html, html):
                    return message.ref
            if after is None or not found or found[-1] is None:
                return None
            after = found[-1].ref
        return None

    async def _send(self, method: str, url: str, html: str) -> Posted:
        try:
            async with self._requesting(method, url, html) as response:
                posted = _meaning(response)
                # What it says is of no use; the connection is, if that is not much.
                if posted.what == "sent":
                    with suppress(httpx.HTTPError):
                        await _read(response, MAX_ANSWER)
                return posted
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            return Posted("again", reason=f"Campfire can't be reached: {_said(error, url)}")
        except TimeoutError:
            return Posted("again", reason=f"Campfire has not answered within {DEADLINE_SECONDS:g} s", unsure=True)
        except httpx.HTTPError as error:
            return Posted("again", reason=f"Campfire has not answered: {_said(error, url)}", unsure=True)
        except httpx.InvalidURL:
            return Posted("refused", reason="the address of the room is none")

    @asynccontextmanager
    async def _requesting(self, method: str, url: str, html: str | None = None) -> AsyncIterator[httpx.Response]:
        async with asyncio.timeout(DEADLINE_SECONDS):
            content = None if html is None else html.encode(errors="replace")
            async with self._http.stream(method, url, content=content) as response:
                yield response


@dataclass(frozen=True, slots=True)
class _Message:
    ref: str
    by: str
    html: str


def _message(shown: Any) -> _Message | None:
    try:
        return _Message(str(int(shown["id"])), str(shown["creator"]["id"]), str(shown["body"]["html"]))
    except (KeyError, TypeError, ValueError):
        return None


def _is_after(ref: str, after: str | None) -> bool:
    return after is None or not after.isdigit() or int(ref) > int(after)


def _meaning(response: httpx.Response) -> Posted:
    status = response.status_code
    if 200 <= status < 300:
        found = _REF.search(urlsplit(response.headers.get("location", "")).path)
        return Posted("sent", found and found[1], status=status)
    if 300 <= status < 400:
        reason = f"Campfire redirects ({status}): it does not accept the bot's key, or its `url` is another"
        return Posted("refused", reason=reason, status=status)
    if status >= 500 or status in _PASSING:
        asked = response.headers.get("retry-after", "")
        wait = min(float(asked), 3_600.0) if asked.isascii() and asked.isdigit() and len(asked) < 9 else 0.0
        return Posted("again", reason=f"Campfire answers {status}", unsure=status >= 500, wait=wait, status=status)
    return Posted("refused", reason=_WHY.get(status, f"Campfire refuses it ({status})"), status=status)


async def _read(response: httpx.Response, limit: int) -> bytearray:
    read = bytearray()
    async for piece in response.aiter_bytes():
        read += piece
        if len(read) > limit:
            raise httpx.DecodingError("it says more than is read")
    return read


def _said(error: Exception, url: str) -> str:
    # An address with the key in it goes nowhere, whatever a library thinks of saying.
    said = str(error).replace(urlsplit(url).path, "…")
    return f"{type(error).__name__}: {said}"[:300] if said else type(error).__name__
