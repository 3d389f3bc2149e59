"""A RabbitMQ node that can also be put under a memory alarm."""

import asyncio
import os
import shutil
import subprocess

import pytest

from cli.local.rabbitmq import RabbitMQ
from shared.bus.topology import QUEUES
from tests.waiting import eventually


class Broker(RabbitMQ):
    """The node; `alarm` and `clear` are what happens when it runs out of memory and has some again."""

    def alarm(self) -> None:
        """From now on the node reads nothing from connections that publish."""
        self._evaluate("rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})")

    def clear(self) -> None:
        """Take the alarm back."""
        self._evaluate("rabbit_alarm:clear_alarm({resource_limit, memory, node()})")

    def _evaluate(self, expression: str) -> None:
        # rabbitmqctl can do the same, but takes seconds to start, and needs epmd.
        program = shutil.which("erl_call")
        if program is None:
            pytest.skip("erl_call is not installed; it comes with Erlang")
        where = f"127.0.0.1:{self._identity['distribution_port']}"
        done = subprocess.run(
            [program, "-address", where, "-c", str(self._identity["cookie"]), "-e"],
            input=f"{expression}.\n".encode(),
            env={**os.environ, "HOME": str(self.data / "home")},
            capture_output=True,
            check=True,
            timeout=20,
        )
        assert done.stdout == b"{ok, ok}", done.stdout

    async def crash(self) -> None:
        """SIGKILL, once the topology's queues and its stream outlive that."""
        queues = [queue.name for queue in QUEUES if queue.arguments.get("x-queue-type") == "quorum"]
        await asyncio.to_thread(eventually, lambda: all(map(self.registered, queues)) and self.streams_registered())
        await asyncio.to_thread(self.kill)

    async def start_again(self) -> None:
        """Start and wait beside the event loop.

        Not launched in another thread: the kernel ends the node with the thread that started it.
        """
        self.launch()
        await asyncio.to_thread(self.wait)
