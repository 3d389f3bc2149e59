"""A live client: one connected Claude Code, owned by one task from its start to its end.

A client can't leave the task that has connected it, and its reader must never be cancelled: what it had still to read
would be the next question's answer. So whoever wants something of it tells the owner, interrupts are drained, and what
does not answer any more is killed.
"""

import asyncio
import contextlib
import shutil
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import claude_agent_sdk
import psutil
from claude_agent_sdk import ClaudeSDKClient, ClaudeSDKError, ResultMessage, StreamEvent

from services.claude_worker.bots import Bot
from services.claude_worker.cli import Cli
from services.claude_worker.failures import (
    CLIENT_DIED,
    DEADLINE,
    INTERRUPTED,
    NOT_CONNECTED,
    AttemptFailed,
    Failure,
    failure_of_status,
)
from services.claude_worker.options import options
from services.claude_worker.transcripts import TranscriptStore, TurnTranscript
from shared.logs import get_logger
from shared.messages.chat import Path as Tier
from shared.messages.chat import Spent

CONNECT_SECONDS = 30.0
# How long an interrupted answer may take to end, and a client to go.
DRAIN_SECONDS = 5.0
OnText = Callable[[str], None]
# Claude Code as it comes with the SDK.
EXECUTABLE = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
log = get_logger()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a client has answered, and what it has used for that."""

    text: str
    spent: Spent


@dataclass(slots=True)
class _Question:
    text: str
    on_text: OnText | None
    answer: "asyncio.Future[Answer]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class LiveClient:
    """A connected client of one conversation."""

    def __init__(self, bot: Bot, cli: Cli, store: TranscriptStore, *, resume: str | None) -> None:
        """`resume`: the Claude session to take up again; None: a new one."""
        self.claude_session = resume or str(uuid.uuid4())
        self.transcript = TurnTranscript(store)
        # How the next answer comes about.
        self.tier: Tier = "warm" if resume else "cold"
        self.used_at = time.monotonic()
        self._home = cli.make_home()
        self._client = ClaudeSDKClient(
            options(
                bot,
                cli,
                self.transcript,
                self._hear,
                session=self.claude_session,
                resumes=bool(resume),
                home=self._home,
            )
        )
        self._questions: asyncio.Queue[_Question | None] = asyncio.Queue()
        self._asked: _Question | None = None
        self._failure: Failure | None = None
        self._spent_usd = 0.0
        self._process: psutil.Process | None = None
        self._owner: asyncio.Task[None] | None = None
        self._errors: list[str] = []

    @property
    def pid(self) -> int | None:
        """The process of Claude Code, once it is connected."""
        return self._process.pid if self._process else None

    @property
    def is_alive(self) -> bool:
        """Whether it can be asked something."""
        return self._owner is not None and not self._owner.done() and _runs(self._process)

    async def connect(self) -> None:
        """Start Claude Code. Raises `AttemptFailed`, with nothing left behind."""
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = asyncio.create_task(self._own(connected))
        try:
            await asyncio.shield(connected)
        except asyncio.CancelledError:
            self._owner.cancel()
            raise

    async def ask(self, text: str, on_text: OnText | None, *, deadline: float) -> Answer:
        """Ask, and wait for the whole answer; `on_text` gets its pieces. Raises `AttemptFailed`."""
        question = _Question(text, on_text)
        # Looked at, or asyncio complains when whoever asked has gone.
        question.answer.add_done_callback(lambda answer: answer.cancelled() or answer.exception())
        self._asked, self._failure = question, None
        self._questions.put_nowait(question)
        timer = asyncio.get_running_loop().call_later(deadline, self.give_up, DEADLINE)
        assert self._owner is not None
        try:
            ends: set[asyncio.Future[Any]] = {question.answer, self._owner}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if not question.answer.done():
                raise AttemptFailed(self._failure or CLIENT_DIED, self._said())
            answer = question.answer.result()
            self.tier = "hot"
            return answer
        finally:
            timer.cancel()
            self._asked = None
            self.used_at = time.monotonic()

    def give_up(self, failure: Failure = INTERRUPTED) -> None:
        """Interrupt the answer that is being given, if any; `ask` raises this failure when it has ended."""
        if self._asked is not None and self._failure is None:
            self._failure = failure
            task = asyncio.create_task(self._interrupt(self._asked))
            _INTERRUPTS.add(task)
            task.add_done_callback(_INTERRUPTS.discard)

    async def close(self) -> None:
        """Disconnect, or kill what does not go; whatever was being answered fails."""
        self.give_up()
        self._questions.put_nowait(None)
        if self._owner is not None:
            _, late = await asyncio.wait([self._owner], timeout=DRAIN_SECONDS * 2)
            if late:
                self.kill()
                await asyncio.wait([self._owner], timeout=DRAIN_SECONDS)
                self._owner.cancel()
        self.kill()
        await asyncio.to_thread(shutil.rmtree, self._home, ignore_errors=True)

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            with contextlib.suppress(psutil.Error):
                self._process.kill()

    async def _own(self, connected: "asyncio.Future[None]") -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._client.connect()
            self._process = psutil.Process((await self._client.get_server_info() or {})["pid"])
        except (ClaudeSDKError, TimeoutError, OSError, psutil.Error, KeyError) as error:
            connected.set_exception(AttemptFailed(NOT_CONNECTED, f"{type(error).__name__}: {error} {self._said()}"))
            return
        except BaseException as error:
            connected.set_exception(AttemptFailed(NOT_CONNECTED, repr(error)))
            raise
        connected.set_result(None)
        try:
            while (question := await self._questions.get()) is not None:
                try:
                    question.answer.set_result(await self._answer(question))
                except AttemptFailed as failed:
                    question.answer.set_exception(failed)
                except (ClaudeSDKError, OSError) as error:
                    failure = self._failure or CLIENT_DIED
                    question.answer.set_exception(AttemptFailed(failure, f"{type(error).__name__}: {error}"))
                    return
        finally:
            with contextlib.suppress(Exception):
                await self._client.disconnect()
            self.kill()

    async def _answer(self, question: _Question) -> Answer:
        await self._client.query(question.text)
        result: ResultMessage | None = None
        async for message in self._client.receive_response():
            if isinstance(message, StreamEvent):
                if question.on_text and message.parent_tool_use_id is None and (piece := _text_of(message.event)):
                    question.on_text(piece)
            elif isinstance(message, ResultMessage):
                result = message
        if result is None:
            raise AttemptFailed(self._failure or CLIENT_DIED, self._said())
        spent = self._spent(result)
        if self._failure is not None:
            raise AttemptFailed(self._failure, result.terminal_reason or "", spent)
        if result.is_error or result.subtype != "success":
            failure = failure_of_status(result.api_error_status)
            raise AttemptFailed(failure, f"{result.subtype}: {(result.result or '')[:500]}", spent)
        if not self.transcript.is_whole:
            raise AttemptFailed(failure_of_status(413), "the transcript of the turn is too long to be kept", spent)
        return Answer(result.result or "", spent)

    def _spent(self, result: ResultMessage) -> Spent:
        # The tokens are the turn's, the cost is that of the process so far.
        usage, total = result.usage or {}, result.total_cost_usd or 0.0
        cost, self._spent_usd = max(0.0, total - self._spent_usd), max(total, self._spent_usd)
        read = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        return Spent(
            input_tokens=sum(int(usage.get(name) or 0) for name in read),
            output_tokens=int(usage.get("output_tokens") or 0),
            cost_usd=round(cost, 8),
        )

    async def _interrupt(self, question: _Question) -> None:
        with contextlib.suppress(ClaudeSDKError, TimeoutError, OSError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._client.interrupt()
        _, late = await asyncio.wait([question.answer], timeout=DRAIN_SECONDS)
        if late:
            log.warning("client_not_interrupted", pid=self.pid, hint="it is killed")
            self.kill()

    def _hear(self, line: str) -> None:
        self._errors = [*self._errors[-9:], line[:500]]

    def _said(self) -> str:
        return " | ".join(self._errors)


_INTERRUPTS: set[asyncio.Task[None]] = set()


def _text_of(event: dict[str, Any]) -> str | None:
    delta = event.get("delta") or {}
    return (
        delta.get("text") if event.get("type") == "content_block_delta" and delta.get("type") == "text_delta" else None
    )


def _runs(process: psutil.Process | None) -> bool:
    try:
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
