"""Sidebars by their id, lists of them, where agents take part, and figures; for those who take part, and admins."""

from datetime import datetime
from typing import Any

from services.session_worker import sidebars, store
from shared.bus.queries import QueryHandler
from shared.database import Transaction
from shared.errors import not_found
from shared.messages import Command
from shared.messages.sidebar import Inherited, SidebarFigures, WholeSidebar
from shared.messages.sidebar_commands import GetAgentContexts, GetSidebar, ListSidebars, SidebarStats
from shared.pages import cursor_after, page_of, sort_key

# So much of a sidebar's history is shown.
_HISTORY = 100
Result = dict[str, Any]


async def get_sidebar(tx: Transaction, command: Command) -> Result:
    """One sidebar with what its participants know."""
    asked: GetSidebar = command.data
    found = await store.sidebars.find_sidebar(tx, asked.sidebar_id)
    if found is None or asked.session_id not in (None, found[0].session_id):
        raise not_found("sidebar", asked.sidebar_id)
    sidebar, findings = found
    sidebars.check_access(sidebar, command)
    memories = await store.sidebar_exchanges.list_memories(tx, sidebar.sidebar_id, asked.limit)
    inherited = await store.sidebar_exchanges.list_inherited(tx, sidebar.sidebar_id, asked.limit)
    whole = WholeSidebar.trusted(
        {
            **sidebar.__dict__,
            "findings": findings,
            "inherited_memory": [
                *(Inherited(memory=memory) for memory in memories),
                *(Inherited(exchange=exchange) for exchange in inherited),
            ],
            "local_memory": await store.sidebar_exchanges.list_exchanges(
                tx, sidebar.sidebar_id, asked.limit, asked.before
            ),
            "agent_capabilities": await store.sidebar_lists.list_capabilities(tx, sidebar.sidebar_id),
            "history": await store.sidebars.list_transitions(tx, sidebar.sidebar_id, _HISTORY),
        }
    )
    return {"sidebar": whole}


async def list_sidebars(tx: Transaction, command: Command) -> Result:
    """A page of the sidebars that the asker may see, the most recently active first."""
    asked: ListSidebars = command.data
    agent, other = asked.participant, None
    if not command.by_admin:
        agent = command.sender_agent_id
        other = asked.participant if asked.participant != agent else None
    filters = store.sidebar_lists.Filters(asked.session_id, asked.parent_id, asked.status, agent, other)
    after = sort_key(asked.cursor, datetime, str)
    page, last = page_of(await store.sidebar_lists.list_sidebars(tx, filters, after, asked.limit + 1), asked.limit)
    return {"sidebars": page, "next": cursor_after(last.last_activity, last.sidebar_id) if last else None}


async def sidebar_stats(tx: Transaction, command: Command) -> Result:
    """How sidebars go: all of them for an admin, else those that the asker takes part in."""
    asked: SidebarStats = command.data
    asker = None if command.by_admin else command.sender_agent_id
    found = await store.sidebar_lists.find_figures(tx, asked.hours, asked.session_id, asker)
    return {
        "stats": SidebarFigures(
            hours=asked.hours,
            open=sum(count for status, count in found.by_status.items() if status not in sidebars.CLOSED),
            spawned=found.spawned,
            spawned_per_hour=found.spawned / asked.hours,
            by_status=found.by_status,
            lifespan_s_mean=found.lifespan_mean,
            lifespan_s_p50=found.lifespan_p50,
            merged=found.merged,
            merge_success_rate=found.successful / found.merged if found.merged else None,
            forked=found.forked,
            children=found.children,
            inherited_depth_mean=found.depth,
            collaborations=found.collaborations,
        )
    }


async def get_agent_contexts(tx: Transaction, command: Command) -> Result:
    """Where agents take part."""
    asked: GetAgentContexts = command.data
    return {"contexts": await store.sidebar_lists.list_contexts(tx, asked.agent_ids)}


QUERIES: dict[str, QueryHandler] = {
    query.__name__: query for query in (get_sidebar, list_sidebars, sidebar_stats, get_agent_contexts)
}
