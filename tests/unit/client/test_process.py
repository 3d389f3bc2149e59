"""Processes as they are started and written to."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from switchyard_client.agents.process import Plan, Process, start
from tests.waiting import eventually_async

PLENTY = b"x" * 4_000_000


async def reader_of_nothing() -> Process:
    """A process that leaves its input unread."""
    return await start(Plan([sys.executable, "-c", "import time; time.sleep(60)"], dict(os.environ), Path.cwd()))


def test_who_writes_is_told_when_the_process_is_let_go_and_disturbs_no_other() -> None:
    async def write() -> None:
        one = await reader_of_nothing()
        writing = asyncio.create_task(one.write(PLENTY))
        await asyncio.sleep(0)
        one.close()
        # Descriptors have the numbers of those that were closed.
        other = await reader_of_nothing()
        blocked = asyncio.create_task(other.write(PLENTY))

        async def is_blocked() -> bool:
            return other._room is not None

        try:
            async with asyncio.timeout(5):
                with pytest.raises(BrokenPipeError):
                    await writing
                await eventually_async(is_blocked)
            assert other._stdin == one._stdin
            assert asyncio.get_running_loop().remove_writer(other._stdin)
        finally:
            blocked.cancel()
            for each in (one, other):
                os.kill(each.pid, 9)
                await each.wait()
            other.close()

    asyncio.run(write())
