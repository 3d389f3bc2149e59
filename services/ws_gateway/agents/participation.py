"""Which open sidebars the agents of this gateway take part in: asked once when they connect, then by the events."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from services.ws_gateway.agents.presence import MAX_SIDEBARS, Presence
from services.ws_gateway.stream.frames import Frame
from shared.errors import BusError, Rejected
from shared.logs import get_logger

EVENTS = (
    "sidebar_spawn", "sidebar_status_update", "sidebar_resume", "sidebar_pause", "sidebar_fork", "sidebar_child_spawn",
    "sidebar_merge", "sidebar_archive",
)  # fmt: skip
CLOSED = frozenset({"merged", "archived", "failed"})
# What the query takes.
AGENTS_AT_ONCE = 500
RETRY_SECONDS = 0.5
GATHER_SECONDS = 0.05

log = get_logger()


class _Sidebar(msgspec.Struct):
    sidebar_id: str
    participants: list[str]
    status: str


class _Event(msgspec.Struct):
    sidebar: _Sidebar


class _Context(msgspec.Struct):
    agent_id: str
    sidebars: list[str]


class _Contexts(msgspec.Struct):
    contexts: list[_Context]


_EVENT = msgspec.json.Decoder(_Event)
_CONTEXTS = msgspec.json.Decoder(_Contexts)


class Participation:
    """Keeps what the presence of this gateway's agents says of their sidebars."""

    def __init__(self, presence: Presence, query: Callable[[str, dict[str, Any]], Awaitable[bytes]]) -> None:
        self._presence = presence
        self._query = query
        self._unknown: dict[str, None] = {}
        self._some = asyncio.Event()
        # Events that came while the answer was on its way, which may be older than they.
        self._meanwhile: list[_Sidebar] | None = None

    def came(self, agent_id: str) -> None:
        """An agent has connected here."""
        self._unknown[agent_id] = None
        self._some.set()

    def look(self, frame: Frame) -> None:
        """Look at an event of one of the types in `EVENTS`; what can't be read is left out."""
        try:
            sidebar = _EVENT.decode(frame.text).sidebar
        except msgspec.MsgspecError:
            return
        if self._meanwhile is not None:
            self._meanwhile.append(sidebar)
        self._note(sidebar)

    def _note(self, sidebar: _Sidebar) -> None:
        for agent_id in sidebar.participants:
            known = self._presence.sidebars_of(agent_id)
            if known is None:
                continue
            others = tuple(sidebar_id for sidebar_id in known if sidebar_id != sidebar.sidebar_id)
            if sidebar.status in CLOSED:
                self._presence.takes_part(agent_id, others)
            elif len(others) == len(known):
                self._presence.takes_part(agent_id, (sidebar.sidebar_id, *known)[:MAX_SIDEBARS])

    async def run(self) -> None:
        """Ask for those who have come, until cancelled."""
        while True:
            await self._some.wait()
            await asyncio.sleep(GATHER_SECONDS)
            agents = list(self._unknown)[:AGENTS_AT_ONCE]
            if not await self._ask(
                [agent_id for agent_id in agents if self._presence.sidebars_of(agent_id) is not None]
            ):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            for agent_id in agents:
                del self._unknown[agent_id]
            if not self._unknown:
                self._some.clear()

    async def _ask(self, agents: list[str]) -> bool:
        if not agents:
            return True
        self._meanwhile = []
        try:
            found = _CONTEXTS.decode(await self._query("get_agent_contexts", {"agent_ids": agents}))
        except Rejected as rejected:
            log.warning("agent_contexts_refused", agents=len(agents), reason=rejected.message)
            return True
        except (BusError, TimeoutError, msgspec.MsgspecError) as fault:
            log.debug("agent_contexts_unknown", agents=len(agents), reason=str(fault) or "no answer")
            return False
        finally:
            meanwhile, self._meanwhile = self._meanwhile, None
        told = {context.agent_id: tuple(context.sidebars) for context in found.contexts}
        for agent_id in agents:
            self._presence.takes_part(agent_id, told.get(agent_id, ()))
        for sidebar in meanwhile:
            self._note(sidebar)
        return True
