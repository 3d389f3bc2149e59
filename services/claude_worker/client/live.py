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
from services.claude_worker.client.cli import Cli
from services.claude_worker.client.options import options
from services.claude_worker.client.results import Answer, Spending, prompt, text_of
from services.claude_worker.client.transcripts import TranscriptStore, TurnTranscript
from services.claude_worker.failures import (
    CLIENT_DIED,
    DEADLINE,
    INTERRUPTED,
    NOT_CONNECTED,
    AttemptFailed,
    Failure,
    failure_of_status,
)
from services.claude_worker.tools.server import Tools
from shared.logs import get_logger
from shared.messages.chat import Path as Tier

CONNECT_SECONDS = 30.0
# How long an interrupted answer may take to end, and a client to go.
DRAIN_SECONDS = 5.0
OnText = Callable[[str], None]
# Claude Code as it comes with the SDK.
EXECUTABLE = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
log = get_logger()


@dataclass(slots=True)
class _Question:
    turn_id: str
    # None: it goes on by itself with what it was at.
    text: str | None
    on_text: OnText | None
    answer: "asyncio.Future[Answer]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class LiveClient:
    """A connected client of one conversation."""

    def __init__(self, bot: Bot, cli: Cli, store: TranscriptStore, tools: Tools, *, resume: str | None) -> None:
        """`resume`: the Claude session to take up again; None: a new one."""
        self.claude_session = resume or str(uuid.uuid4())
        self.transcript = TurnTranscript(store)
        self.tools = tools
        # How the next answer comes about.
        self.tier: Tier = "warm" if resume else "cold"
        self.used_at = time.monotonic()
        self.home = cli.make_home()
        self._client = ClaudeSDKClient(
            options(
                bot,
                cli,
                self.transcript,
                self._hear,
                tools,
                session=self.claude_session,
                resumes=bool(resume),
                home=self.home,
            )
        )
        self._questions: asyncio.Queue[_Question | None] = asyncio.Queue()
        self._asked: _Question | None = None
        # What Claude Code was sent and has not answered yet: the ids of its prompts, each with that of its turn.
        self._sent: dict[str, str] = {}
        self._failure: Failure | None = None
        self._spending = Spending()
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

    @property
    def owed(self) -> tuple[str, ...]:
        """The turns that were handed in and are still to be answered: whoever asks next must ask for the first."""
        return tuple(self._sent.values())

    async def connect(self) -> None:
        """Start Claude Code. Raises `AttemptFailed`, with nothing left behind."""
        connected: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._owner = asyncio.create_task(self._own(connected))
        try:
            await asyncio.shield(connected)
        except asyncio.CancelledError:
            self._owner.cancel()
            raise

    async def ask(self, turn_id: str, text: str | None, on_text: OnText | None, *, deadline: float) -> Answer:
        """Ask, and wait for the whole answer; `on_text` gets its pieces. Raises `AttemptFailed`.

        What was handed in before under the id of its turn is not asked again. With no text it goes on with the turn
        that was parked, which it does by itself.
        """
        question = _Question(turn_id, text, on_text)
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

    @property
    def is_answering(self) -> bool:
        """Whether a question was sent whose answer is wanted still."""
        return self._asked is not None and self._failure is None and self._asked.turn_id in self._sent.values()

    async def hand_in(self, turn_id: str, text: str) -> bool:
        """Say something while an answer is given; False when none is, or this was said before.

        If Claude calls a tool after that, it reads it with the result, and answers both at once (`Answer.merged`).
        Else it answers it by itself as soon as it has ended, which is to be asked for by `ask`.
        """
        if not self.is_answering or turn_id in self._sent.values():
            return False
        try:
            await self._send(turn_id, text)
        except (ClaudeSDKError, OSError):
            # It is gone, as whoever waits for the answer is about to be told.
            return False
        return True

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
        await asyncio.to_thread(shutil.rmtree, self.home, ignore_errors=True)

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

    async def _send(self, turn_id: str, text: str) -> None:
        # By its id the result says what it has answered. A new one each time: one that it knows is skipped.
        prompt_id = str(uuid.uuid4())
        self._sent[prompt_id] = turn_id
        await self._client.query(prompt(prompt_id, text))

    async def _answer(self, question: _Question) -> Answer:
        if question.text is not None and question.turn_id not in self._sent.values():
            await self._send(question.turn_id, question.text)
        result: ResultMessage | None = None
        async for message in self._client.receive_response():
            if isinstance(message, StreamEvent):
                if question.on_text and message.parent_tool_use_id is None and (piece := text_of(message.event)):
                    question.on_text(piece)
            elif isinstance(message, ResultMessage):
                result = message
        if result is None:
            raise AttemptFailed(self._failure or CLIENT_DIED, self._said())
        spent, taken = self._spending.of(result), self._take(result, question)
        if self._failure is not None:
            kept = self.transcript.take(before=self._sent) if self.transcript.is_whole else None
            raise AttemptFailed(self._failure, result.terminal_reason or "", spent, kept)
        if result.is_error or result.subtype != "success":
            failure = failure_of_status(result.api_error_status)
            raise AttemptFailed(failure, f"{result.subtype}: {(result.result or '')[:500]}", spent)
        if not self.transcript.is_whole:
            raise AttemptFailed(failure_of_status(413), "the transcript of the turn is too long to be kept", spent)
        if question.text is not None and question.turn_id not in taken:
            raise AttemptFailed(CLIENT_DIED, "it has answered something else", spent)
        merged = tuple(turn_id for turn_id in taken if turn_id != question.turn_id)
        entries = self.transcript.take(before=self._sent)
        return Answer(result.result or "", spent, entries, merged, result.deferred_tool_use)

    def _take(self, result: ResultMessage, question: _Question) -> list[str]:
        """The turns that a result belongs to, which are owed no answer any more."""
        prompts = result.user_message_uuids or [result.user_message_uuid or ""]
        taken = [self._sent.pop(prompt_id) for prompt_id in prompts if prompt_id in self._sent]
        if self._failure is not None or result.is_error:
            # It does not always say what it was at.
            self._sent = {key: turn_id for key, turn_id in self._sent.items() if turn_id != question.turn_id}
        return taken

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


def _runs(process: psutil.Process | None) -> bool:
    try:
        return process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
