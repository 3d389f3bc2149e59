"""A no-op on Procrastinate, as its guide writes it: the queue and its history in PostgreSQL."""

import asyncio
import os

from procrastinate import App, PsycopgConnector
from tasks_peer import done, produce_async

app = App(connector=PsycopgConnector(conninfo=os.environ["DATABASE_URL"]))


@app.task(name="noop")
async def noop(at: float) -> None:
    done(at)


async def main() -> None:
    async with app.open_async():
        await produce_async(lambda at: noop.defer_async(at=at))


if __name__ == "__main__":
    asyncio.run(main())
