"""The composition of the session worker: which handlers, queries and background tasks make it up."""

from services.session_worker import batch, sidebar_metrics
from services.session_worker.dead_letter_queue import DeadLetterQueue
from services.session_worker.handlers import BATCH_HANDLERS, HANDLERS, sidebars
from services.session_worker.maintenance import maintain
from services.session_worker.queries import QUERIES
from services.session_worker.recorder import Recorder
from services.session_worker.redrive import redrive
from services.session_worker.settings import SessionWorkerSettings
from shared.bus.bodies import packed
from shared.bus.publisher import Publisher
from shared.bus.service import Background, Context, Timer, run_worker
from shared.bus.topology import EVENTS
from shared.database import Database
from shared.messages import Event

NAME = "session_worker"
# How often it looks for sidebars that have been idle for too long.
IDLE_SECONDS = 60.0


async def run(settings: SessionWorkerSettings) -> None:
    """Run until SIGTERM."""
    told = sidebars.handlers(settings.sidebar_inherit_depth, settings.sidebar_idle_hours)
    await run_worker(
        settings,
        NAME,
        areas=["session", "webhook", "sidebar"],
        handlers={**HANDLERS, **told, **batch.handlers(told)},
        batch_handlers=BATCH_HANDLERS,
        queries=QUERIES,
        background=[record_events, keep_dead_letters, redrive_dead_letters, keep_house(settings)],
        timers=[Timer("archive_idle_sidebars", IDLE_SECONDS)],
        sharing=batch.SHARING,
    )


async def record_events(context: Context) -> None:
    """Copy the event stream into the database."""
    # Its own connection: recording must go on while commands and queries use all of the others.
    database = Database(context.settings.database_url.get_secret_value(), name=f"{NAME} recorder", size=1)

    async def publish(event: Event) -> None:
        await publish_event(context.publisher, event)

    recorder = Recorder(
        url=context.settings.amqp_url.get_secret_value(), name=NAME, database=database, publish=publish,
        observe=sidebar_metrics.observe,
    )  # fmt: skip
    try:
        # The publisher has made the stream when it is connected.
        await context.publisher.wait_connected()
        await recorder.run()
    finally:
        await database.close()


async def keep_dead_letters(context: Context) -> None:
    """Move what arrives in the dead-letter queue into the database."""

    async def publish(event: Event) -> None:
        await publish_event(context.publisher, event)

    url = context.settings.amqp_url.get_secret_value()
    await DeadLetterQueue(url=url, database=context.database, publisher=context.publisher, publish=publish).run()


async def redrive_dead_letters(context: Context) -> None:
    """Publish dead letters again when that was asked for."""
    await redrive(context.database, context.publisher)


def keep_house(settings: SessionWorkerSettings) -> Background:
    """Partitions and expiry, with the time events and the audit log are kept."""

    async def keep(context: Context) -> None:
        await maintain(context.database, settings.keep_events_days, settings.keep_audit_days)

    return keep


async def publish_event(publisher: Publisher, event: Event) -> None:
    """Publish an event that no command caused. Raises `BusError`."""
    body, encoding = packed(event.encoded())
    await publisher.publish(
        EVENTS, event.routing_key(), body, message_id=event.message_id, content_encoding=encoding, deadline=5
    )
