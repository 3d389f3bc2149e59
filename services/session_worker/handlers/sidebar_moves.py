"""Moving sidebars from status to status, on somebody's word or because nothing has happened in them for long."""

from collections.abc import Callable

from services.session_worker import sidebars, store
from services.session_worker.handlers.sidebar_locks import add_history, hold
from shared.bus.handled import lock_sessions
from shared.bus.replies import Handler, Reply
from shared.database import Transaction
from shared.messages import Command, Event
from shared.messages.sidebar import Sidebar
from shared.messages.sidebar_commands import ArchiveSidebar, PauseSidebar, ResumeSidebar, SetSidebarStatus

# What one run archives at most, so that its transaction stays short; the rest is for the next run.
AT_ONCE = 200


async def set_sidebar_status(tx: Transaction, command: Command) -> Reply:
    """Move a sidebar to a status; the one it has changes nothing."""
    asked: SetSidebarStatus = command.data

    def decide(sidebar: Sidebar, moment: str) -> sidebars.Moved:
        return sidebars.set_status(
            sidebar, asked.status, reason=asked.reason, by=command.sender_agent_id, moment=moment
        )

    return await _move(tx, command, decide, in_closed_session=asked.status == "archived")


async def pause_sidebar(tx: Transaction, command: Command) -> Reply:
    """Stop a sidebar for a while; pausing a paused one changes nothing."""
    asked: PauseSidebar = command.data

    def decide(sidebar: Sidebar, moment: str) -> sidebars.Moved:
        return sidebars.pause(
            sidebar,
            reason=asked.reason,
            resume_condition=asked.resume_condition,
            by=command.sender_agent_id,
            moment=moment,
        )

    return await _move(tx, command, decide)


async def resume_sidebar(tx: Transaction, command: Command) -> Reply:
    """Go on with a paused or waiting sidebar; resuming an active one changes nothing."""
    asked: ResumeSidebar = command.data

    def decide(sidebar: Sidebar, moment: str) -> sidebars.Moved:
        return sidebars.resume(sidebar, reason=asked.reason, by=command.sender_agent_id, moment=moment)

    return await _move(tx, command, decide)


async def archive_sidebar(tx: Transaction, command: Command) -> Reply:
    """Put a sidebar away, that of a closed session too."""
    asked: ArchiveSidebar = command.data

    def decide(sidebar: Sidebar, moment: str) -> sidebars.Moved:
        return sidebars.archive(sidebar, reason=asked.reason, by=command.sender_agent_id, moment=moment)

    return await _move(tx, command, decide, in_closed_session=True)


async def _move(
    tx: Transaction,
    command: Command,
    decide: Callable[[Sidebar, str], sidebars.Moved],
    *,
    in_closed_session: bool = False,
) -> Reply:
    held = await hold(tx, command, command.data.sidebar_id, in_closed_session=in_closed_session)
    moved, events = decide(held.sidebar, held.moment)
    if events:
        await store.sidebars.save_sidebars(tx, [moved])
        await add_history(tx, command, events)
    return Reply({"sidebar": moved}, list(events))


def archive_idle_sidebars(idle_hours: float) -> Handler:
    """The handler that archives sidebars in which nothing has happened for so many hours."""

    async def archive_idle_sidebars(tx: Transaction, command: Command) -> Reply:
        """Archive idle sidebars, those first that have been idle for longest, a bounded number at once."""
        found = await store.sidebar_lists.find_idle(tx, idle_hours, AT_ONCE)
        if not found:
            return Reply({"archived": 0})
        await lock_sessions(tx, sorted({session_id for _, session_id in found}))
        held = await store.sidebars.lock_sidebars(tx, [sidebar_id for sidebar_id, _ in found])
        # Somebody may have said something meanwhile.
        still = await store.sidebar_lists.still_idle(tx, list(held), idle_hours)
        reason = f"nothing has happened for {idle_hours:g} h"
        archived: list[Sidebar] = []
        events: list[Event] = []
        for each in (held[sidebar_id] for sidebar_id in still):
            moved, told = sidebars.archive(each.sidebar, reason=reason, by=command.sender_agent_id, moment=each.moment)
            archived.append(moved)
            events += told
        if archived:
            await store.sidebars.save_sidebars(tx, archived)
            await add_history(tx, command, events)
        return Reply({"archived": len(archived)}, events)

    return archive_idle_sidebars


HANDLERS: dict[str, Handler] = {
    handler.__name__: handler for handler in (set_sidebar_status, pause_sidebar, resume_sidebar, archive_sidebar)
}
