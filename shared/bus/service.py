"""The composition of a worker: logs, database, broker, runtime, queries, timers, health; from start to clean stop."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvloop

from shared import logs, telemetry
from shared.bus.publisher import Publisher
from shared.bus.queries import QueryHandler, QueryServer
from shared.bus.replies import BatchHandler, Handler
from shared.bus.sharing import Sharing
from shared.bus.topology import COMMANDS
from shared.bus.worker import Worker
from shared.database import Database, is_transient
from shared.errors import BusError
from shared.health import health_server
from shared.messages import Command, encode_command, new_id, spec_of
from shared.settings import Settings

GRACE_SECONDS = 12
log = logs.get_logger()


@dataclass(frozen=True, slots=True)
class Context:
    """What a worker's background tasks are given."""

    name: str
    settings: Settings
    database: Database
    publisher: Publisher
    # Set whenever the worker has committed a callback.
    callbacks_owed: asyncio.Event
    # Set when the worker is to stop: what `run_worker` was given as `finishing` ends by itself then.
    stopping: asyncio.Event
    # Set once all that was taken is committed, so that nothing more comes.
    worked: asyncio.Event


@dataclass(frozen=True, slots=True)
class Timer:
    """An ordinary command published every so many seconds."""

    command: str
    seconds: float
    data: Mapping[str, Any] = field(default_factory=dict)


Background = Callable[[Context], Awaitable[None]]


def serve(main: Callable[[], Awaitable[None]]) -> None:
    """Run a service's main coroutine on uvloop until it returns."""
    uvloop.run(main())  # type: ignore[arg-type]


async def stop_requested() -> None:
    """Return at the first SIGTERM or SIGINT."""
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    await asked.wait()


async def run_worker(
    settings: Settings,
    name: str,
    *,
    areas: Sequence[str],
    handlers: Mapping[str, Handler],
    batch_handlers: Mapping[str, BatchHandler] | None = None,
    queries: Mapping[str, QueryHandler] | None = None,
    timers: Sequence[Timer] = (),
    background: Sequence[Background] = (),
    finishing: Sequence[Background] = (),
    sharing: Sharing | None = None,
    on_committed: Callable[[Sequence[Command]], None] | None = None,
) -> None:
    """Run a worker until SIGTERM: it finishes what it has taken, within 12 s, and acknowledges it.

    `background` is cancelled in the end; `finishing` is waited for as long as the worker itself, with the broker and
    the database still there. Broker and database may be away at the start and at any time; the worker is then live but
    not ready.
    """
    logs.configure(name, form=settings.log_format, level=settings.log_level)
    telemetry.export_traces(name, settings.otlp_endpoint)
    url = settings.amqp_url.get_secret_value()
    database = Database(settings.database_url.get_secret_value(), name=name, size=4)
    # Of their own, so that many reads never keep a batch from its connection.
    reads = Database(settings.database_url.get_secret_value(), name=f"{name} reads", size=6, read_only=True)
    publisher = Publisher(url, name=name)
    worker = Worker(
        name=name, url=url, areas=areas, database=database, publisher=publisher,
        handlers=handlers, batch_handlers=batch_handlers or {}, sharing=sharing, on_committed=on_committed,
    )  # fmt: skip
    context = Context(name, settings, database, publisher, worker.callbacks_owed, asyncio.Event(), asyncio.Event())

    async def database_fault() -> str | None:
        try:
            await database.ping()
        except Exception as error:
            if not is_transient(error):
                raise
            return str(error).split("\n")[0]
        return None

    async def broker_fault() -> str | None:
        return None if publisher.connected and worker.connected else "not connected"

    health = health_server(
        {"database": database_fault, "broker": broker_fault},
        host=settings.host,
        port=settings.worker_port(name),
    )
    services: list[Awaitable[None]] = [publisher.run(), health.serve(), worker.tell_unconfirmed()]
    if queries:
        read_areas = [area for area in areas if area != "webhook"]
        services.append(
            QueryServer(url=url, areas=read_areas, database=reads, publisher=publisher, handlers=queries).run()
        )
    if sharing is not None:
        services.append(worker.hear_wakes())
    services += [_tick(timer, publisher) for timer in timers]
    services += [start(context) for start in background]
    log.info("started", health_port=settings.worker_port(name))
    gc.collect()
    gc.freeze()
    working = asyncio.ensure_future(worker.run())
    working.add_done_callback(lambda _: context.worked.set())
    helpers = [asyncio.ensure_future(service) for service in services]
    finishers = [asyncio.ensure_future(start(context)) for start in finishing]
    stop = asyncio.ensure_future(stop_requested())
    await asyncio.wait([stop, working, *helpers, *finishers], return_when=asyncio.FIRST_COMPLETED)
    for task in (working, *helpers, *finishers):
        if task.done() and not task.cancelled() and (error := task.exception()):
            log.error("service_failed", exc_info=error)
    worker.stop()
    context.stopping.set()
    _, late = await asyncio.wait([working, *finishers], timeout=GRACE_SECONDS)
    if late:
        log.warning(
            "stopped_in_work", grace_s=GRACE_SECONDS, hint="the broker delivers what was not acknowledged again"
        )
    for task in (working, stop, *helpers, *finishers):
        task.cancel()
    await asyncio.gather(working, stop, *helpers, *finishers, return_exceptions=True)
    await database.close()
    await reads.close()
    log.info("stopped")
    if not stop.done() or stop.cancelled():
        raise SystemExit(1)


async def _tick(timer: Timer, publisher: Publisher) -> None:
    spec = spec_of(timer.command)
    while True:
        await asyncio.sleep(timer.seconds)
        await publisher.wait_connected()
        message_id = new_id()
        body = encode_command(timer.command, dict(timer.data), message_id=message_id, sender_agent_id="system")
        try:
            await publisher.publish(COMMANDS, spec.routing_key, body, message_id=message_id)
        except BusError as error:
            log.warning("timer_not_published", command=timer.command, reason=str(error))
