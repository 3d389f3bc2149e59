"""Making vectors of memories: outside any transaction by an endpoint, kept by a command of its own."""

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from services.memory_worker.embeddings import Embeddings, EmbeddingsError
from services.memory_worker.store import vectors as store
from services.memory_worker.store.vectors import Place, Version
from shared.bus.bodies import packed
from shared.bus.replies import Reply
from shared.bus.service import Context
from shared.bus.topology import COMMANDS
from shared.database import Transaction, is_transient
from shared.database.full_text import readable
from shared.errors import BusError
from shared.logs import get_logger
from shared.messages import Command, encode_command, new_id, spec_of
from shared.messages.memory import EmbedMemories

LOOK_SECONDS = 1.0
# After a failure: doubled each time, up to a minute.
RETRY_SECONDS = (1.0, 60.0)
# How long a published vector may take to be in the table before it is made again.
PATIENCE_SECONDS = 30.0
# Numbers in one command: it stays under a megabyte.
NUMBERS_AT_ONCE = 60_000
# An index takes some milliseconds for each.
TEXTS_AT_ONCE = 32
# Models read some 8,000 tokens, and a letter may be a token of its own.
MAX_LETTERS = 8_000
# Imported memories may be older than what has been looked at: now and then everything is looked at again.
LOOK_AGAIN_SECONDS = 1_800.0
# The worker that makes vectors says so with every batch; another one takes over when it has not for so long.
LEASE = timedelta(seconds=60)
MOST_ON_THEIR_WAY = 5_000
log = get_logger()


async def embed_memories(tx: Transaction, command: Command) -> Reply:
    """Keep vectors; one whose memory has another version by now, or was forgotten, is dropped."""
    data: EmbedMemories = command.data
    kept = await store.keep_vectors(tx, data.model, data.vectors)
    return Reply({"kept": kept, "stale": len(data.vectors) - kept})


def text_of(version: Version) -> str:
    """What a model is given of a memory: its text, or its JSON where that has none."""
    return (readable(version.content).strip() or str(version.content))[:MAX_LETTERS]


class Embedder:
    """Finds memories without a vector and has them made, as a background task of the memory worker."""

    def __init__(self, embeddings: Embeddings) -> None:
        self.embeddings = embeddings
        # Why no search by meaning can be answered yet; None once there is a place for vectors.
        self.fault: str | None = "the vectors' table has not been prepared yet; try again in a moment"
        self._name = new_id()
        self._after: Place | None = None
        self._began = time.monotonic()
        # Versions whose text the endpoint refuses; they are tried again after a restart, or when they change.
        self._refused: set[tuple[str, str, int]] = set()
        # Versions whose vectors are on their way into the table, and until when that is believed.
        self._sent: dict[tuple[str, str, int], float] = {}

    async def run(self, context: Context) -> None:
        """Look, make and publish until cancelled; whatever fails is tried again, ever more seldom."""
        wait = RETRY_SECONDS[0]
        try:
            while True:
                try:
                    if self.fault is not None:
                        await self._prepare(context)
                    worked = await self._work(context)
                except Exception as error:
                    if not (isinstance(error, EmbeddingsError | BusError | store.NoVectors) or is_transient(error)):
                        raise
                    reason = str(error).split("\n")[0]
                    if self.fault is not None:
                        self.fault = error.told if isinstance(error, EmbeddingsError) else reason
                    log.warning("vectors_not_made", reason=reason, retry_s=round(wait, 1))
                    await asyncio.sleep(wait * random.uniform(0.75, 1.25))
                    wait = min(2 * wait, RETRY_SECONDS[1])
                else:
                    wait = RETRY_SECONDS[0]
                    await asyncio.sleep(0 if worked else LOOK_SECONDS)
        finally:
            await self.embeddings.close()

    async def _prepare(self, context: Context) -> None:
        if self.embeddings.dimensions is None:
            await self.embeddings.of(["How many dimensions?"])
        async with context.database.transaction() as tx:
            await store.prepare(tx, self.embeddings.dimensions or 0)
        self.fault = None

    async def _work(self, context: Context) -> bool:
        """Have one batch made and published; False when there is nothing to do."""
        async with context.database.transaction() as tx:
            if not await store.hold(tx, self._name, LEASE):
                return False
        async with context.database.reading() as tx:
            missing = await self._missing(tx)
            if len(self._sent) > MOST_ON_THEIR_WAY:
                return False
            versions = await store.contents(tx, missing) if missing else []
        if not versions:
            return bool(missing)
        vectors = await self._vectors(versions)
        if vectors:
            await self._publish(context, vectors)
        return True

    async def _missing(self, tx: Transaction) -> list[tuple[str, str, int]]:
        """The next versions to make vectors of, the longest unchanged first."""
        wanted = max(1, min(TEXTS_AT_ONCE, NUMBERS_AT_ONCE // (self.embeddings.dimensions or 1)))
        if time.monotonic() - self._began > LOOK_AGAIN_SECONDS:
            self._after, self._began = None, time.monotonic()
        after, nothing_before = self._after, True
        now, sent = time.monotonic(), self._sent
        self._sent = {}
        while True:
            page = await store.look(tx, self.embeddings.model, after)
            # What is missing no more has arrived, and what was sent lies before what was not.
            self._sent |= {each: sent[each] for each in page.missing if sent.get(each, now) > now}
            missing = [each for each in page.missing if each not in self._refused and each not in self._sent]
            nothing_before = nothing_before and not page.missing
            if nothing_before and page.settled is not None:
                self._after = page.settled
            if missing or page.next is None:
                return missing[:wanted]
            after = page.next

    async def _vectors(self, versions: Sequence[Version]) -> list[dict[str, Any]]:
        texts = [text_of(version) for version in versions]
        try:
            made = await self.embeddings.of(texts)
        except EmbeddingsError as error:
            if not error.text_refused:
                raise
            if len(versions) > 1:
                # One of them is at fault: halves find it soon.
                middle = len(versions) // 2
                return [*await self._vectors(versions[:middle]), *await self._vectors(versions[middle:])]
            # Whether it is the text or the whole request, a text that nobody can object to tells.
            await self.embeddings.of(["Is anybody there?"])
            (refused,) = versions
            self._refused.add(refused[:3])
            log.warning("text_refused", reason=str(error), session_id=refused.session_id, key=refused.key)
            return []
        return [
            {"session_id": each.session_id, "key": each.key, "version": each.version, "vector": vector}
            for each, vector in zip(versions, made, strict=True)
        ]

    async def _publish(self, context: Context, vectors: list[dict[str, Any]]) -> None:
        message_id = new_id()
        data = {"model": self.embeddings.model, "vectors": vectors}
        body, encoding = packed(encode_command("embed_memories", data, message_id=message_id, sender_agent_id="system"))
        await context.publisher.wait_connected()
        await context.publisher.publish(
            COMMANDS, spec_of("embed_memories").routing_key, body, message_id=message_id, content_encoding=encoding
        )
        until = time.monotonic() + PATIENCE_SECONDS
        self._sent |= {(each["session_id"], each["key"], each["version"]): until for each in vectors}
