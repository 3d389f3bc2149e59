"""Load: clients that send webhooks and commands without a pause, and remember every message that was accepted.

A client that got no answer sends the same message again under the same id, as senders do; so each message that was
accepted must have had its effect once, and be told of by one event.
"""

import asyncio
import hmac
from collections import Counter
from contextlib import suppress
from typing import Any, NamedTuple, Self

import httpx
import orjson

from shared.bus.tail import StreamEvent, Tail, last_offset
from shared.messages import new_id
from shared.messages.envelope import delivery_message_id
from tests.faults.system import System
from tests.waiting import eventually_async

# How each kind of message shows in the database: rows of (message id, number of effects).
EFFECTS = {
    "webhook": "select message_id, count(*) from deliveries where message_id = any(%s) group by 1",
    "conversation_chunk": "select message_id, count(*) from conversation_chunks where message_id = any(%s) group by 1",
    "store_memory": "select message_id, max(version) from memories where message_id = any(%s) group by 1",
    "delegate_task": "select input_data->>'id', count(*) from tasks where input_data->>'id' = any(%s) group by 1",
}
KINDS = tuple(EFFECTS)
# The event that tells of each.
TOLD_BY = {
    "webhook": "webhook",
    "conversation_chunk": "conversation_chunk_added",
    "store_memory": "memory_update",
    "delegate_task": "task_created",
}


class Message(NamedTuple):
    """A message to send, always as the same request."""

    kind: str
    message_id: str
    path: str
    headers: dict[str, str]
    body: bytes


class Load:
    """Sends while the block runs; what was accepted is checked after it by `assert_once_each`."""

    def __init__(
        self, system: System, *, clients: int = 4, pause: float = 0.01, session_id: str = "", mark: str = ""
    ) -> None:
        """Each client pauses between two messages; without a pause it sends as fast as it is answered."""
        self._system = system
        self._clients = clients
        self.pause = pause
        self._session_id = session_id or f"load-{new_id()}"
        self._mark = mark
        self.http = httpx.AsyncClient(base_url=system.stack.api_url, timeout=30)
        self.accepted: dict[str, str] = {}
        self.statuses: Counter[int] = Counter()
        self.slowest = 0.0
        self.unanswered = 0
        self._sending: list[asyncio.Task[None]] = []
        self._events: list[StreamEvent] = []
        # The events as (correlation id, type, message id), as far as they have been looked at.
        self._seen: list[tuple[str | None, str, str]] = []
        self._following: asyncio.Task[None] | None = None

    async def prepare(self) -> Self:
        """Open the session, and follow the events from here on."""
        await self.command("create_session", {"session_id": self._session_id}, expect=201)
        start = await last_offset(self._system.broker.url, name="test") + 1
        tail = Tail(self._system.broker.url, name="test", on_events=self._events.extend, start=start)
        self._following = asyncio.ensure_future(tail.run())
        return self

    async def close(self) -> None:
        """Stop sending and following."""
        await self.stop()
        if self._following:
            self._following.cancel()
            with suppress(asyncio.CancelledError):
                await self._following
        await self.http.aclose()

    async def __aenter__(self) -> Self:
        try:
            await self.prepare()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    # Sending

    def direct_to(self, api_url: str) -> None:
        """Send to another ingress from here on."""
        self.http.base_url = httpx.URL(api_url)

    def start(self, kinds: tuple[str, ...] = KINDS) -> None:
        """Begin to send."""
        self._sending = [asyncio.ensure_future(self._send_always(kinds, n)) for n in range(self._clients)]

    async def stop(self) -> None:
        """Stop sending; each client first gets the answer it waits for."""
        sending, self._sending = self._sending, []
        for task in sending:
            task.cancel()
        ended = await asyncio.gather(*sending, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def more(self, count: int, deadline: float = 60) -> None:
        """Wait until so many more messages have been accepted."""
        wanted = len(self.accepted) + count

        async def so_many() -> bool:
            for task in self._sending:
                if task.done():
                    task.result()
            return len(self.accepted) >= wanted

        await eventually_async(so_many, deadline, because=f"{count} more being accepted")

    async def refused(self, count: int, deadline: float = 60) -> None:
        """Wait until so many more messages have been refused with 503."""
        wanted = self.statuses[503] + count

        async def so_many() -> bool:
            return self.statuses[503] >= wanted

        await eventually_async(so_many, deadline, because="messages being refused")

    async def _send_always(self, kinds: tuple[str, ...], number: int) -> None:
        while True:
            for kind in kinds[number % len(kinds) :] + kinds[: number % len(kinds)]:
                await self.send_until_accepted(self.message(kind))
                await asyncio.sleep(self.pause)

    async def send_until_accepted(self, message: Message) -> None:
        """Send a message, again and again if need be."""
        await eventually_async(lambda: self.send(message), 120, interval=0.05, because="being accepted")

    async def send(self, message: Message) -> bool:
        """Send a message once; whether it was accepted."""
        began = asyncio.get_running_loop().time()
        try:
            answer = await self.http.post(message.path, content=message.body, headers=message.headers)
        except httpx.TransportError:
            self.unanswered += 1
            return False
        self.slowest = max(self.slowest, asyncio.get_running_loop().time() - began)
        self.statuses[answer.status_code] += 1
        if answer.is_success:
            self.accepted[message.message_id] = message.kind
        else:
            assert answer.status_code == 503, answer.text
        return answer.is_success

    def message(self, kind: str) -> Message:
        """A new message of a kind."""
        message_id = new_id()
        if kind == "webhook":
            return self._webhook(f"{self._mark}{message_id}")
        data: dict[str, Any] = {"session_id": self._session_id}
        data |= {
            "conversation_chunk": {"content": f"we decided to send {message_id}"},
            "store_memory": {"type": "fact", "key": message_id, "content": {"id": message_id}},
            "delegate_task": {"agent_name": "researcher", "task_type": "t", "input_data": {"id": message_id}},
        }[kind]
        # Half of the callers wait for the reply, the others don't.
        prefer = "respond-async" if message_id[-1] in "02468ace" else "wait=5"
        headers = {**self.key, "Idempotency-Key": message_id, "Prefer": prefer}
        return Message(kind, message_id, f"/api/commands/{kind}", headers, orjson.dumps(data))

    def _webhook(self, delivery_id: str) -> Message:
        body = orjson.dumps({"ref": "refs/heads/main", "delivery": delivery_id})
        secret = self._system.stack.environment.get("GITHUB_WEBHOOK_SECRET")
        headers = {
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": delivery_id,
            "X-Hub-Signature-256": f"sha256={hmac.new(secret.encode(), body, 'sha256').hexdigest()}",
            "Content-Type": "application/json",
        }
        return Message("webhook", delivery_message_id("github", delivery_id), "/webhook", headers, body)

    @property
    def session_id(self) -> str:
        """The session all of it is about."""
        return self._session_id

    @property
    def key(self) -> dict[str, str]:
        """The header that shows the API key."""
        return {"X-API-Key": self._system.stack.api_key}

    async def command(self, name: str, data: dict[str, Any], *, expect: int = 200, wait: float = 20) -> dict[str, Any]:
        """Run a command and return its result."""
        answer = await self.http.post(
            f"/api/commands/{name}", json=data, headers={**self.key, "Prefer": f"wait={wait:g}"}
        )
        assert answer.status_code == expect, answer.text
        result: dict[str, Any] = answer.json()
        return result

    async def seconds_until_answered(self) -> float:
        """How long it takes until a worker answers a command again."""
        began = asyncio.get_running_loop().time()

        async def is_answered() -> bool:
            answer = await self.http.post(
                "/api/commands/create_session", json={}, headers=self.key | {"Prefer": "wait=5"}
            )
            return answer.status_code == 201

        await eventually_async(is_answered, 60, interval=0.05, because="a command being answered")
        return asyncio.get_running_loop().time() - began

    # What came of it

    async def effects(self) -> Counter[str]:
        """How often each accepted message had its effect so far."""
        found: Counter[str] = Counter()
        for kind, statement in EFFECTS.items():
            ids = [message for message, sent_as in self.accepted.items() if sent_as == kind]
            for message, count in await self._system.sql(statement, ids):  # type: ignore[arg-type]
                found[message] += count
        return found

    def told_in_order(self) -> list[str]:
        """The accepted messages in the order of the events that tell of them."""
        return list(dict.fromkeys(caused_by for caused_by, _, _ in self._all() if caused_by in self.accepted))

    def told(self) -> dict[str, set[str]]:
        """The ids of the events that tell of each accepted message, by the message's id."""
        found: dict[str, set[str]] = {}
        for caused_by, kind, message_id in self._all():
            if caused_by in self.accepted and kind == TOLD_BY[self.accepted[caused_by]]:
                found.setdefault(caused_by, set()).add(message_id)
        return found

    def holds(self, text: bytes) -> bool:
        """Whether an event holds this text."""
        return any(text in event.body for event in self._events)

    def _all(self) -> list[tuple[str | None, str, str]]:
        for event in self._events[len(self._seen) :]:
            try:
                document = orjson.loads(event.body)
            except orjson.JSONDecodeError:  # what a test has put into the stream
                document = {}
            self._seen.append(
                (document.get("correlation_id"), document.get("type", ""), document.get("message_id", ""))
            )
        return self._seen

    async def assert_once_each(self, deadline: float = 60) -> None:
        """Every accepted message has its effect once and its one event, within the deadline."""
        end = asyncio.get_running_loop().time() + deadline
        assert self.accepted
        while True:
            missing = set(self.accepted) - set(await self.effects())
            silent = set(self.accepted) - set(self.told())
            if not missing and not silent:
                break
            assert asyncio.get_running_loop().time() < end, (
                f"of {len(self.accepted)} accepted, {len(missing)} had no effect ({self._kinds(missing)}) and"
                f" {len(silent)} no event ({self._kinds(silent)}); first: {sorted(missing | silent)[:3]}"
            )
            await asyncio.sleep(0.3)
        twice = {message: count for message, count in (await self.effects()).items() if count != 1}
        assert not twice, f"more than one effect: {twice}"
        told_twice = {message: ids for message, ids in self.told().items() if len(ids) != 1}
        assert not told_twice, f"more than one event: {told_twice}"

    def _kinds(self, messages: set[str]) -> dict[str, int]:
        return dict(Counter(self.accepted[message] for message in messages))
