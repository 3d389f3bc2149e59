"""A sender in a process of its own, to be killed; its arguments are the database's URL and the secret."""

import asyncio
import sys

from services.task_worker.callbacks.post import tls_context
from services.task_worker.callbacks.sender import Sender
from services.task_worker.callbacks.signing import Signer
from services.task_worker.callbacks.targets import resolve
from shared.database import Database
from shared.targets import Allowed


async def main(url: str, secret: str) -> None:
    sender = Sender(
        Database(url, name="killed", size=2),
        Signer(secret),
        Allowed.of("127.0.0.1"),
        resolve=resolve,
        tls=tls_context(),
        owed=asyncio.Event(),
    )
    await sender.run()


asyncio.run(main(*sys.argv[1:]))
