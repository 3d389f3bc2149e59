"""Load: clients that send webhooks and commands without a pause, and remember every message that was accepted.

A client that got no answer sends the same message again under the same id, as senders do; so each message that was
accepted must have had its effect once, and be told of by one event.
"""

import asyncio
import hmac
from collections import Counter
from contextlib import suppress
from typing import Any, Self

import httpx
import orjson

from shared.bus.tail import StreamEvent, Tail, last_offset
from shared.messages import new_id
from shared.messages.envelope import delivery_message_id
from tests.faults.claimer import Claimer, WaitingClaim
from tests.faults.invariants import broken, hurry_callbacks
from tests.faults.kinds import AGENT, KINDS, WITHOUT_SESSION, Message
from tests.faults.system import System
from tests.waiting import eventually_async


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
        # The events as documents, as far as they have been looked at.
        self._seen: list[dict[str, Any]] = []
        self._following: asyncio.Task[None] | None = None
        self._claimer = Claimer(system, self._session_id)

    async def prepare(self) -> Self:
        """Open the session, and follow the events from here on."""
        await self.command("create_session", {"session_id": self._session_id}, expect=201)
        await self.command("register_agent", {"name": AGENT, "type": "test"})
        start = await last_offset(self._system.broker.url, name="test") + 1
        tail = Tail(self._system.broker.url, name="test", on_events=self._events.extend, start=start)
        self._following = asyncio.ensure_future(tail.run())
        return self

    async def close(self) -> None:
        """Stop sending, working and following."""
        await self.stop()
        await self._claimer.close()
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

    def start(self, kinds: tuple[str, ...] = tuple(KINDS)) -> None:
        """Begin to send, and to work off the tasks that are delegated."""
        self._claimer.start()
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
        as_it_must = answer.status_code == KINDS[message.kind].refused
        if not as_it_must:
            self.statuses[answer.status_code] += 1
        if answer.is_success or as_it_must:
            self.accepted[message.message_id] = message.kind
            return True
        assert answer.status_code == 503, f"{message.kind}: {answer.text}"
        return False

    def message(self, name: str) -> Message:
        """A new message of a kind."""
        message_id, kind = new_id(), KINDS[name]
        if kind.command is None or kind.data is None:
            return self._webhook(f"{self._mark}{message_id}")
        data = kind.data(self._session_id, message_id)
        if kind.command not in WITHOUT_SESSION:
            data["session_id"] = self._session_id
        if kind.command == "delegate_task":
            data["callback_url"] = self.callback_url
        # Half of the callers wait for the reply, the others don't.
        prefer = "respond-async" if message_id[-1] in "02468ace" else "wait=5"
        headers = {**self.key, "Idempotency-Key": message_id, "Prefer": prefer}
        if kind.calls_back:
            form = {"command": kind.command, "data": data, "callback_url": self.callback_url}
            return Message(name, message_id, "/api/commands", headers, orjson.dumps(form))
        return Message(name, message_id, f"/api/commands/{kind.command}", headers, orjson.dumps(data))

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
    def callback_url(self) -> str:
        """Where those who ask to be called back are."""
        return self._system.receiver.url.partition("?")[0] + f"/{self._session_id}"

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

    def waiting_claim(self) -> WaitingClaim:
        """A claim of `codex` in this session."""
        return WaitingClaim(self.http, self.key, self._session_id)

    def task_for(self, agent_name: str) -> dict[str, Any]:
        """The data of a task in this session."""
        return {"session_id": self._session_id, "agent_name": agent_name, "task_type": "t"}

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
        for name, kind in KINDS.items():
            if ids := [message for message, sent_as in self.accepted.items() if sent_as == name]:
                for message, count in await self._system.sql(kind.effects, ids):
                    found[message] += count
        return found

    def told_in_order(self) -> list[str]:
        """The accepted messages in the order of the events that tell of them."""
        causes = (event.get("correlation_id") for event in self.events())
        return list(dict.fromkeys(cause for cause in causes if cause in self.accepted))

    def told(self) -> dict[str, set[str]]:
        """The ids of the events that tell of each accepted message, by the message's id."""
        found: dict[str, set[str]] = {}
        for event in self.events():
            cause = event.get("correlation_id")
            if cause in self.accepted and event.get("type") == KINDS[self.accepted[cause]].told_by:
                found.setdefault(cause, set()).add(event["message_id"])
        return found

    def holds(self, text: bytes) -> bool:
        """Whether an event holds this text."""
        return any(text in event.body for event in self._events)

    def events(self) -> list[dict[str, Any]]:
        """The events so far, some of them twice."""
        for event in self._events[len(self._seen) :]:
            try:
                document = orjson.loads(event.body)
            except orjson.JSONDecodeError:  # what a test has put into the stream
                document = {}
            self._seen.append(document)
        return self._seen

    async def assert_once_each(self, deadline: float = 60) -> None:
        """Every accepted message has its effect once and its one event, and all that counts adds up, in time."""
        began = asyncio.get_running_loop().time()
        assert self.accepted
        self._claimer.start()
        silent = {name for name, kind in KINDS.items() if kind.told_by is None}
        tellable = {message for message, sent_as in self.accepted.items() if sent_as not in silent}
        while True:
            effects, told = await self.effects(), self.told()
            wrong = [
                f"of {len(self.accepted)} accepted, {len(lost)} had no {what} ({self._kinds(lost)}): {sorted(lost)[:3]}"
                for what, lost in (("effect", set(self.accepted) - set(effects)), ("event", tellable - set(told)))
                if lost
            ]
            wrong = wrong or await broken(self._system, self)
            if not wrong:
                break
            waited = asyncio.get_running_loop().time() - began
            assert waited < deadline, wrong
            if waited > 2:
                await hurry_callbacks(self._system, self)
            await asyncio.sleep(0.3)
        await self._claimer.close()
        twice = {message: (self.accepted[message], count) for message, count in effects.items() if count != 1}
        assert not twice, f"not one effect: {twice}"
        told_twice = {message: ids for message, ids in told.items() if len(ids) != 1}
        assert not told_twice, f"more than one event: {told_twice}"

    def _kinds(self, messages: set[str]) -> dict[str, int]:
        return dict(Counter(self.accepted[message] for message in messages))
