"""Asks the session worker where agents take part, for many of them at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from services.ws_gateway.fanout.hub import Hub
from shared.errors import BusError, Rejected, Unavailable
from shared.logs import get_logger

# What the query takes.
AGENTS_AT_ONCE = 500
# The worker tells of open sessions and sidebars by their participants. Who has sent events, and who took part in what
# was closed lately, is read from the ring: so many events before others get their turn.
STRIDE = 1_000

log = get_logger()


class _Context(msgspec.Struct):
    agent_id: str
    sessions: list[str]
    sidebars: list[str]


class _Contexts(msgspec.Struct):
    contexts: list[_Context]


_CONTEXTS = msgspec.json.Decoder(_Contexts)


class Contexts:
    """Brings to the hub's relevance what it does not know yet."""

    def __init__(self, hub: Hub, query: Callable[[str, dict[str, Any]], Awaitable[bytes]]) -> None:
        self._hub = hub
        self._query = query
        self._asked: dict[str, asyncio.Future[None]] = {}
        self._asking: asyncio.Task[None] | None = None

    async def learn(self, agent_id: str) -> None:
        """Wait until it is known where the agent takes part. Raises `Rejected`, `BusError` or TimeoutError."""
        if self._hub.relevance.knows(agent_id):
            return
        await asyncio.shield(self._ask(agent_id))

    def refresh(self) -> None:
        """Ask anew for those of whom events were missed; to be called now and then."""
        for agent_id in self._hub.relevance.unknown:
            self._ask(agent_id)

    def _ask(self, agent_id: str) -> "asyncio.Future[None]":
        future = self._asked.get(agent_id)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._asked[agent_id] = loop.create_future()
            # Nobody need wait for it.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
            if self._asking is None:
                self._asking = loop.create_task(self._ask_all())
        return future

    async def _ask_all(self) -> None:
        """Ask for all that are waited for, and for those that come meanwhile."""
        try:
            while self._asked:
                # Who connects in the same turn of the loop is asked for in one.
                await asyncio.sleep(0)
                agents = list(self._asked)[:AGENTS_AT_ONCE]
                fault = await self._ask_for(agents)
                # Without an answer the others need not wait for theirs.
                for agent_id in agents if fault is None else list(self._asked):
                    future = self._asked.pop(agent_id)
                    if fault is None:
                        future.set_result(None)
                    else:
                        future.set_exception(fault)
        finally:
            self._asking = None
            # Only a mistake of ours leaves some.
            for future in self._asked.values():
                future.set_exception(Unavailable("it can't be found out where agents take part"))
            self._asked.clear()

    async def _ask_for(self, agents: list[str]) -> Exception | None:
        try:
            found = _CONTEXTS.decode(await self._query("get_agent_contexts", {"agent_ids": agents}))
        except (Rejected, BusError, TimeoutError, msgspec.MsgspecError) as fault:
            log.warning("agent_contexts_unknown", agents=len(agents), reason=str(fault) or "no answer")
            is_answered = isinstance(fault, msgspec.MsgspecError)
            return Unavailable("the worker's answer can't be read") if is_answered else fault
        await self._learn_recent()
        relevance = self._hub.relevance
        told = {context.agent_id: context for context in found.contexts}
        for agent_id in agents:
            context = told.get(agent_id)
            relevance.merge(agent_id, context.sessions if context else (), context.sidebars if context else ())
        return None

    async def _learn_recent(self) -> None:
        hub = self._hub
        seen, last = hub.ring.floor, hub.cursor
        while frames := hub.ring.after(seen, STRIDE):
            for frame in frames:
                hub.relevance.learn(frame)
            seen = frames[-1].cursor
            if seen >= last:
                break
            await asyncio.sleep(0)
