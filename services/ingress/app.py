"""The composition of the ingress: builds everything, decides nothing."""

import asyncio
import gc
from collections.abc import Mapping

from services.ingress.access import Access
from services.ingress.api import make_api
from services.ingress.bodies import BodyReader
from services.ingress.chat_doors import ChatDoors
from services.ingress.commands import CommandDoor
from services.ingress.diversion import Diversion
from services.ingress.front import Front
from services.ingress.hooks import HookDoor
from services.ingress.intake import Intake
from services.ingress.mcp import McpDoor
from services.ingress.metrics import Metrics
from services.ingress.openapi import add_openapi
from services.ingress.pages import Readiness, health_router
from services.ingress.server import make_server
from services.ingress.session_api.replays import Replays
from services.ingress.settings import IngressSettings
from services.ingress.sources import bot_names, load
from services.ingress.spool import Spool
from services.ingress.webhooks import WebhookDoor
from shared import __version__, telemetry
from shared.bus.key_watch import KeyWatch
from shared.bus.publisher import Publisher
from shared.bus.rpc import Rpc
from shared.key_ring import KeyRing
from shared.logs import get_logger
from shared.targets import Allowed

log = get_logger()


async def run(settings: IngressSettings, environment: Mapping[str, str]) -> int:
    """Serve until told to stop; returns the exit status. Raises SourcesError, OSError, sqlite3.Error."""
    telemetry.export_traces("ingress", settings.otlp_endpoint)
    sources = load(settings.config, environment)
    if not settings.config.exists():
        log.warning("sources_file_missing", file=str(settings.config), hint="only github and api are known")
    for source in sources.values():
        if not source.secrets and source.scheme != "api_key":
            log.warning("source_without_secret", source=source.name, hint="every delivery of it is refused")
    folder = settings.data / "spool"
    publisher = Publisher(settings.amqp_url.get_secret_value(), name="ingress")
    rpc = Rpc(publisher)
    spool = Spool(folder, settings.spool_max_bytes)
    await spool.open()
    way = Diversion(publisher, spool)
    intake = Intake(publisher, rpc, spool, way)
    ring = KeyRing(settings.api_key.get_secret_value(), default_rate=settings.rate_per_minute)
    keys = KeyWatch(settings.amqp_url.get_secret_value(), name="ingress", publisher=publisher, rpc=rpc, ring=ring)
    access = Access(ring, settings.secret.get_secret_value(), folder)
    bodies = BodyReader()
    allowed = Allowed.of(settings.callback_allow)
    commands = CommandDoor(access, intake, bodies, allowed)
    chats = ChatDoors(bot_names(settings.config), settings.secret.get_secret_value(), allowed)
    chats.warn(sources)
    webhooks = WebhookDoor(sources, access, intake, commands, bodies, chats)
    mcp = McpDoor(access, commands, bodies, origins=settings.origins, version=__version__)

    def gauges() -> dict[str, tuple[str, float]]:
        return {
            "switchyard_broker_connected": (
                "1 while the broker is connected and takes messages",
                intake.broker_answers,
            ),
            "switchyard_spool_messages": ("Messages waiting in the spool", spool.messages),
            "switchyard_spool_bytes": ("Bytes waiting in the spool", spool.bytes),
            "switchyard_spooled_total": ("Messages that went to the spool", intake.spooled),
            "switchyard_keys": ("API keys in force beside the bootstrap key", len(ring)),
            "switchyard_replayed_total": ("Messages published from the spool", way.replayed),
        }

    def readiness() -> Readiness:
        # Before the broker was reached once, the service waits for it; later the spool stands in for it.
        dependencies = {
            "broker": None if intake.broker_answers else "away, or not answering",
            "spool": None if spool.has_room else f"full: {spool.bytes} bytes in {spool.messages} messages",
        }
        return Readiness(way.was_connected and intake.can_keep, dependencies)

    metrics = Metrics(gauges)
    hooks = HookDoor(access, intake, bodies)
    replays = Replays()
    api = make_api(
        commands, access, bodies, gateway_url=settings.public_gateway_url, version=__version__, replays=replays
    )
    api.include_router(health_router(readiness, metrics.text, __version__))
    add_openapi(api, settings.public_url)

    def stopping() -> None:
        replays.stop()
        intake.hurry()

    server = make_server(
        Front(api, webhooks, commands, hooks, mcp, metrics, traced=settings.otlp_endpoint is not None),
        settings.host,
        settings.ingress_port,
        on_stopping=stopping,
    )
    # What is there now stays for good; the collector need not look at it again, and seldom at the rest.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    background = [asyncio.create_task(work.run()) for work in (publisher, way, intake, mcp, keys)]
    for task in background:
        task.add_done_callback(lambda _: server.stop())
    try:
        await server.serve()
        failed = [task for task in background if task.done()]
    finally:
        for task in background:
            task.cancel()
        outcomes = await asyncio.gather(*background, return_exceptions=True)
        await spool.close()
    for task, outcome in zip(background, outcomes, strict=True):
        if task in failed:
            log.error(
                "background_failed",
                fault=repr(outcome),
                exc_info=outcome if isinstance(outcome, BaseException) else None,
            )
    log.info("stopped", spooled=spool.messages)
    return 1 if failed else 0
