"""The server of the Messages API: `POST /v1/messages`, `count_tokens`, and doors to direct it from outside."""

import asyncio
import json
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from standins.messages_api import events
from standins.messages_api.answers import ERRORS, Answer, Trouble, answer, input_tokens
from standins.messages_api.conversation import Conversation, mistake, read
from standins.server import Exchange, Server

KEY_HEADERS = ("x-api-key", "authorization", "cookie")
# Requests kept to be looked at; each holds a whole conversation.
KEPT = 1000


@dataclass
class Asked:
    """One request, as it is kept: without the key."""

    number: int
    at: float  # of time.monotonic()
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    prompts: list[str] = field(default_factory=list)
    # under way; then done, the number of an error, hang, stall, cut, break, or gone: the client left before the end
    outcome: str = "under way"
    pieces: int = 0  # of the answer sent so far
    ended: float | None = None

    @property
    def prompt(self) -> str:
        """The text that wanted an answer."""
        return self.prompts[-1] if self.prompts else ""


class MessagesAPI(Server):
    """Answers as the text it is sent directs (`standins.messages_api.directives`).

    `always` holds directives for every request, `next` one text of directives for each of the next requests; both count
    before those in the message. Any key is taken, but there must be one; `keys` given: only those.

    From outside: `GET /_standin/requests?since=N`, `POST /_standin/next {"directives": ["[[error 529]]"]}`,
    `PUT /_standin/always {"directives": ""}`.
    """

    def __init__(self, port: int = 0, *, keys: set[str] | None = None, kept: int = KEPT) -> None:
        super().__init__(port)
        self.keys = keys
        self.always = ""
        self.next: deque[str] = deque()
        self.count = 0
        self._asked: deque[Asked] = deque(maxlen=kept)
        self._met: Counter[str] = Counter()  # how often a message met its trouble

    def environment(self, home: Path) -> dict[str, str]:
        """What Claude Code needs in its environment to talk to this alone, and to keep its files in `home`."""
        return {
            "ANTHROPIC_BASE_URL": self.url,
            "ANTHROPIC_API_KEY": "sk-stand-in",
            "HOME": str(home),
            "CLAUDE_CONFIG_DIR": str(home / ".claude"),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            "DISABLE_TELEMETRY": "1",
            "DISABLE_ERROR_REPORTING": "1",
        }

    @property
    def requests(self) -> list[Asked]:
        """The requests for a message so far, oldest first; the latest thousand."""
        return list(self._asked)

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request as the API does, errors and all."""
        match exchange.method, exchange.path:
            case "POST", "/v1/messages":
                await self._messages(exchange)
            case "POST", "/v1/messages/count_tokens":
                await exchange.reply_json(200, {"input_tokens": input_tokens(exchange.json())})
            case _, path if path.startswith("/_standin/"):
                await self._directed(exchange)
            case "GET", "/v1/models":
                if self._knows(exchange.headers):
                    await exchange.reply_json(200, {"data": [], "has_more": False, "first_id": None, "last_id": None})
                else:
                    await _refuse(exchange, 401, "invalid x-api-key")
            case "HEAD" | "GET", "/":
                await exchange.reply(200)
            case _:
                await _refuse(exchange, 404, f"no such thing: {exchange.method} {exchange.path}")

    async def _messages(self, exchange: Exchange) -> None:
        if not self._knows(exchange.headers):
            await _refuse(exchange, 401, "invalid x-api-key")
            return
        try:
            body = exchange.json()
            if refused := mistake(body):
                raise ValueError(refused)
            conversation = read(body["messages"])
            also = f"{self.always} {self.next.popleft() if self.next else ''}"
            planned = answer(conversation, body, also)
        except ValueError as error:
            await _refuse(exchange, 400, str(error))
            return
        asked = self._keep(exchange, body, conversation)
        trouble = self._trouble(planned.trouble, also, conversation)
        try:
            await asyncio.sleep(planned.wait)
            if body.get("stream"):
                await _stream(exchange, planned, trouble, asked)
            else:
                await _whole(exchange, planned, trouble, asked)
        except (OSError, asyncio.CancelledError):
            asked.outcome = "gone" if asked.outcome == "under way" else asked.outcome
            raise
        finally:
            asked.ended = time.monotonic()

    def _knows(self, headers: dict[str, str]) -> bool:
        key = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        return bool(key) and (self.keys is None or key in self.keys)

    def _keep(self, exchange: Exchange, body: dict[str, Any], conversation: Conversation) -> Asked:
        headers = {name: value for name, value in exchange.headers.items() if name not in KEY_HEADERS}
        self.count += 1
        asked = Asked(self.count, time.monotonic(), exchange.path, headers, body, conversation.prompts)
        self._asked.append(asked)
        return asked

    def _trouble(self, trouble: Trouble | None, also: str, conversation: Conversation) -> Trouble | None:
        """What goes wrong this time: nothing, once the message has met it often enough."""
        if trouble is None or trouble.times is None:
            return trouble
        message = f"{also}\0{conversation.prompt}"
        self._met[message] += 1
        return trouble if self._met[message] <= trouble.times else None

    async def _directed(self, exchange: Exchange) -> None:
        match exchange.method, exchange.path.removeprefix("/_standin/"):
            case "GET", "requests":
                since = int(exchange.query.get("since", 0))
                await exchange.reply_json(200, [vars(each) for each in self.requests if each.number > since])
            case "POST", "next":
                self.next.extend(exchange.json()["directives"])
                await exchange.reply(204)
            case "PUT", "always":
                self.always = exchange.json()["directives"]
                await exchange.reply(204)
            case _:
                await _refuse(exchange, 404, "GET requests, POST next, PUT always")


async def _stream(exchange: Exchange, planned: Answer, trouble: Trouble | None, asked: Asked) -> None:
    if await _stopped(exchange, trouble, asked, begun=False):
        return
    await exchange.begin(200, content_type="text/event-stream", cache_control="no-cache", request_id=_request_id())
    for is_piece, data in events.stream(planned, f"msg_{uuid.uuid4().hex[:24]}", asked.body["model"]):
        if is_piece:
            if await _stopped(exchange, trouble, asked):
                return
            await asyncio.sleep(planned.pace)
            asked.pieces += 1
        await exchange.send(data)
    if trouble is not None and await _stopped(exchange, trouble, asked, last=True):
        return
    asked.outcome = "done"
    await exchange.end()


async def _whole(exchange: Exchange, planned: Answer, trouble: Trouble | None, asked: Asked) -> None:
    if await _stopped(exchange, trouble, asked, begun=False):
        return
    body = json.dumps(events.message(planned, f"msg_{uuid.uuid4().hex[:24]}", asked.body["model"]), ensure_ascii=False)
    if trouble is not None:
        await exchange.begin(200, content_type="application/json", content_length=str(len(body.encode())))
        await exchange.send(body.encode()[: len(body) // 2])
        if await _stopped(exchange, trouble, asked, last=True):
            return
    asked.outcome = "done"
    await exchange.reply(200, body, content_type="application/json", request_id=_request_id())


async def _stopped(
    exchange: Exchange, trouble: Trouble | None, asked: Asked, *, begun: bool = True, last: bool = False
) -> bool:
    """Whether the answer ends here, since what was to go wrong has gone wrong; a hang or stall ends with the client."""
    if trouble is None or (not last and trouble.after > asked.pieces):
        return False
    if not begun and trouble.kind not in ("error", "hang") and not (trouble.kind == "cut" and trouble.after == 0):
        return False
    asked.outcome = str(trouble.status) if trouble.kind == "error" else trouble.kind
    match trouble.kind:
        case "error":
            headers = {"retry_after": trouble.retry_after} if trouble.retry_after else {}
            await _refuse(exchange, trouble.status, "as it was told to", **headers)
        case "hang" | "stall":
            await asyncio.Event().wait()
        case "cut":
            exchange.cut()
        case "break":
            await exchange.send(events.event("error", error={"type": "overloaded_error", "message": "Overloaded"}))
            await exchange.end()
    return True


async def _refuse(exchange: Exchange, status: int, message: str, **headers: str) -> None:
    request_id = _request_id()
    error = {"type": ERRORS.get(status, "api_error"), "message": message}
    body = {"type": "error", "error": error, "request_id": request_id}
    await exchange.reply_json(status, body, request_id=request_id, **headers)


def _request_id() -> str:
    return f"req_{uuid.uuid4().hex[:24]}"
