"""The composition of the Claude worker: builds everything, decides nothing."""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Any

from services.claude_worker import metrics
from services.claude_worker.answering.attempt import Workshop
from services.claude_worker.answering.partitions import Partitions
from services.claude_worker.bots import Bot, load
from services.claude_worker.client.cli import Cli, forget_secrets
from services.claude_worker.client.transcripts import TranscriptStore
from services.claude_worker.expiry import watch
from services.claude_worker.failures import NO_CREDENTIAL, NOT_INSTALLED, Failure
from services.claude_worker.handlers import area_handlers, partition_handlers
from services.claude_worker.handlers.retention import clean_up
from services.claude_worker.pool.housekeeping import Housekeeping
from services.claude_worker.pool.pool import Pool
from services.claude_worker.posting.campfire import Campfire
from services.claude_worker.posting.poster import Poster
from services.claude_worker.queries import queries
from services.claude_worker.settings import ClaudeWorkerSettings
from services.claude_worker.store import chats
from services.claude_worker.store.registry import Ownership
from services.claude_worker.tools.calls import ToolCalls
from services.claude_worker.turns import Held
from shared.bus.local import LocalCommands
from shared.bus.rpc import Rpc
from shared.bus.service import Background, Context, Timer, run_worker
from shared.database import Database
from shared.logs import get_logger
from shared.messages import new_id
from shared.sealing import REPLY_TO, Seal

NAME = "claude_worker"
CLEAN_SECONDS = 3600.0
log = get_logger()


async def run(settings: ClaudeWorkerSettings) -> None:
    """Run until SIGTERM. Raises BotsError."""
    bots = load(settings.config)
    forget_secrets(settings.config)
    await run_worker(
        settings,
        NAME,
        areas=["chat"],
        handlers=metrics.counted(area_handlers(bots)),
        queries=queries(bots),
        timers=[Timer("clean_chats", CLEAN_SECONDS, clean_up(bots))],
        finishing=[answer_rooms(settings, bots)],
    )


def answer_rooms(settings: ClaudeWorkerSettings, bots: dict[str, Bot]) -> Background:
    """Run this worker's share of the partitions, with the bots that are declared."""

    async def answer(context: Context) -> None:
        url = settings.database_url.get_secret_value()
        database = Database(url, name=f"{NAME} turns", size=8)
        # Before the publisher is connected, which then takes the answers as well.
        calls = ToolCalls(Rpc(context.publisher))
        pool, obstacle = make_pool(settings, bots, database, calls)
        if obstacle is not None:
            log.warning("bots_cannot_answer", reason=obstacle.reason, hint=obstacle.told)
        poster = make_poster(settings, lambda: partitions.ownerships)
        local = LocalCommands(database, context.publisher, poster.on_committed)
        housekeeping = Housekeeping(pool, database)

        def status() -> dict[str, Any]:
            return {
                "pid": os.getpid(),
                **pool.status(),
                **housekeeping.status(),
                "obstacle": obstacle and obstacle.reason,
            }

        shop = Workshop(bots, pool, local, database, context.publisher, obstacle, poster)
        partitions = Partitions(
            shop,
            new_id(),
            url=settings.amqp_url.get_secret_value(),
            database=database,
            handlers=lambda ownership, begun: metrics.counted(partition_handlers(bots, ownership, begun)),
            status=status,
        )
        readings = metrics.Readings(lambda: {**status(), **partitions.status()})
        helpers = [
            asyncio.create_task(work)
            for work in (
                pool.watch(),
                local.keep_marked(),
                housekeeping.run(lambda: partitions.owned),
                poster.run(),
                watch(database, local),
            )
        ]
        for helper in helpers:
            helper.add_done_callback(lambda ended: _on_ended(ended, context.stopping))
        try:
            await partitions.run(context.stopping)
        finally:
            readings.close()
            pool.kill()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            await database.close()

    return answer


def _on_ended(helper: "asyncio.Task[None]", stopping: asyncio.Event) -> None:
    """A bug has ended what ends by being cancelled only: the worker stops in good order, to be started again."""
    if not helper.cancelled() and (fault := helper.exception()) is not None:
        log.error("background_failed", fault=repr(fault), exc_info=fault)
        stopping.set()


def make_poster(settings: ClaudeWorkerSettings, owned: Callable[[], Mapping[int, Ownership]]) -> Poster:
    """What tells rooms of chat servers what they are owed."""
    secret = settings.secret.get_secret_value()
    database = Database(settings.database_url.get_secret_value(), name=f"{NAME} posts", size=3)
    return Poster(database, Seal(secret, REPLY_TO) if secret else None, Campfire(), owned)


def make_pool(
    settings: ClaudeWorkerSettings, bots: dict[str, Bot], database: Database, calls: ToolCalls
) -> tuple[Pool, Failure | None]:
    """The pool, and why it can't have clients if it can't."""
    try:
        from services.claude_worker.client.live import EXECUTABLE, LiveClient
        from services.claude_worker.tools.server import Tools
    except ModuleNotFoundError as error:
        if error.name != "claude_agent_sdk":
            raise

        def refuse(bot: Bot, resume: str | None) -> "LiveClient":
            raise AssertionError("there is no SDK")

        return Pool(bots, refuse, max_clients=1), NOT_INSTALLED
    cli = Cli(settings, EXECUTABLE)

    store = TranscriptStore(database)

    async def is_untrusted(held: Held) -> bool | None:
        async with database.reading() as tx:
            return await chats.is_untrusted(tx, held)

    def make(bot: Bot, resume: str | None) -> LiveClient:
        return LiveClient(bot, cli, store, Tools(bot.rights, calls, is_untrusted), resume=resume)

    pool = Pool(
        bots,
        make,
        max_clients=settings.chat_max_clients,
        max_bytes=settings.chat_max_memory_mb * 2**20 or None,
    )
    return pool, None if cli.has_credential else NO_CREDENTIAL
