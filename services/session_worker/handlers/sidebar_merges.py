"""Merging sidebars: what was said, found and referred to becomes the parent's, whole and once."""

from typing import Any

from services.session_worker import data_refs, merges, sidebars, store
from services.session_worker.handlers.sidebar_locks import add_history, check_session, hold_all
from services.session_worker.handlers.sidebar_posts import Said, posted, said_in
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.errors import conflict
from shared.messages import Command, Event, JsonText
from shared.messages.artifacts import ArtifactAdded
from shared.messages.sidebar import Exchange, Merged, Sidebar
from shared.messages.sidebar_commands import MergeSidebar
from shared.messages.sidebar_events import SidebarMerge

# So many open children a refusal names.
_NAMED = 20


async def merge_sidebar(tx: Transaction, command: Command) -> Reply:
    """Merge a sidebar into the one above it, or into its session as an artifact; a second time is a conflict."""
    asked: MergeSidebar = command.data
    held = (await hold_all(tx, command, [asked.sidebar_id]))[asked.sidebar_id]
    check_session(held)
    findings = merges.checked(asked.findings)
    by = command.sender_agent_id
    sidebar, events = sidebars.merge(held.sidebar, success=asked.success, by=by, moment=held.moment)
    await _check_children(tx, sidebar)
    parent = await _parent_of(tx, sidebar)
    new_refs = data_refs.new_in(parent.data_refs if parent else data_refs.NONE, sidebar.data_refs)
    children = await store.sidebar_exchanges.child_results(tx, sidebar.sidebar_id)
    said = merges.fitting(
        await store.sidebar_exchanges.list_exchanges(
            tx, sidebar.sidebar_id, merges.LAST_EXCHANGES, bytes_in_sum=merges.EXCHANGES_BYTES
        )
    )
    brought: dict[str, Any] = {
        "parent_id": sidebar.parent_id,
        "artifact_id": None if parent else merges.artifact_id(sidebar.sidebar_id),
        "consolidated_findings": findings,
        "new_data_refs": new_refs,
        "exchanges_to_merge": said,
        "exchange_count": sidebar.exchange_count,
        "child_results": children,
        "success": asked.success,
    }
    told: list[Event] = [*events, sidebars.told(SidebarMerge, sidebar, **brought)]
    merged = Merged(sidebar_id=sidebar.sidebar_id, timestamp=held.moment, **brought)
    reply = Reply({"sidebar": sidebar, "merged": merged}, told)
    if parent is not None:
        after, exchange = _with_merged(parent, sidebar, findings, new_refs, command, held.moment)
        await store.sidebar_exchanges.copy_exchanges(
            tx, sidebar.sidebar_id, parent.sidebar_id, after=parent.exchange_count
        )
        await store.sidebar_exchanges.insert_exchanges(tx, [exchange])
        await store.sidebars.save_sidebars(tx, [sidebar, after])
        told.append(posted(after, exchange))
    else:
        artifact = merges.artifact_of(command, sidebar, findings, said, children)
        if not await store.artifacts.insert_artifact(tx, artifact):
            raise conflict(
                f"session {sidebar.session_id!r} has an artifact {artifact.artifact_id!r} already, under which the "
                "merge would be kept",
                session_id=sidebar.session_id,
                artifact_id=artifact.artifact_id,
            )
        await store.sidebars.save_sidebars(tx, [sidebar])
        told.append(ArtifactAdded(session_id=sidebar.session_id, artifact=artifact))
        reply.counts_elsewhere = {sidebar.session_id: {"artifact_count": 1}}
    await store.sidebars.save_findings(tx, sidebar.sidebar_id, findings)
    await add_history(tx, command, events)
    return reply


async def _check_children(tx: Transaction, sidebar: Sidebar) -> None:
    """Raise `Rejected("conflict")` when the sidebar has children whose results are still to come."""
    open_children = await store.sidebar_exchanges.open_children(tx, sidebar.sidebar_id, _NAMED)
    if open_children:
        raise conflict(
            f"sidebar {sidebar.sidebar_id!r} has open children: {', '.join(open_children)}; merge, archive or fail "
            "them first",
            sidebar_id=sidebar.sidebar_id,
            open_children=open_children,
        )


async def _parent_of(tx: Transaction, sidebar: Sidebar) -> Sidebar | None:
    """The sidebar above, locked; the one below is its own door to it, whoever takes part there."""
    if sidebar.parent_id is None:
        return None
    parent = (await store.sidebars.lock_sidebars(tx, [sidebar.parent_id]))[sidebar.parent_id].sidebar
    if parent.status in sidebars.CLOSED:
        raise conflict(
            f"sidebar {parent.sidebar_id!r}, into which it would be merged, is {parent.status}; fork "
            f"{sidebar.sidebar_id!r}, and the fork is merged into the session",
            sidebar_id=sidebar.sidebar_id,
            parent_id=parent.sidebar_id,
            status=parent.status,
        )
    return parent


def _with_merged(
    parent: Sidebar, child: Sidebar, findings: JsonText, new_refs: JsonText, command: Command, moment: str
) -> tuple[Sidebar, Exchange]:
    """The parent with what was said in its child, and behind that an exchange that tells of the merge."""
    counted = parent.model_copy(update={"exchange_count": parent.exchange_count + child.exchange_count})
    said = Said("merge", merges.summary(child, findings), new_refs, [])
    after, exchange = said_in(counted, said, command, moment)
    return after, exchange.model_copy(update={"origin_sidebar_id": child.sidebar_id})


HANDLERS: dict[str, Handler] = {"merge_sidebar": merge_sidebar}
