"""A no-op on taskiq over aio-pika, as its guide writes it; its publishes are confirmed."""

import asyncio
import os

from taskiq_aio_pika import AioPikaBroker
from tasks_peer import done, produce_async

broker = AioPikaBroker(os.environ["AMQP_URL"])


@broker.task(task_name="noop")
async def noop(at: float) -> None:
    done(at)


async def main() -> None:
    await broker.startup()
    await produce_async(noop.kiq)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
