"""How commands come by the sidebars they are about: their sessions locked first, then they, each in one order."""

from collections.abc import Iterable, Mapping, Sequence

from services.session_worker import sidebars, store
from services.session_worker.store.sidebars import Held
from shared.bus.commit import OPEN
from shared.bus.replies import SessionMissing
from shared.database import Transaction
from shared.errors import conflict, not_found
from shared.messages import Command, Event
from shared.messages.sidebar_events import SidebarStatusUpdate


async def find_sessions(tx: Transaction, commands: Sequence[Command]) -> set[str]:
    """The sessions of the sidebars that commands name."""
    named = {sidebar_id for command in commands for sidebar_id in _named(command)}
    return await store.sidebars.find_sessions(tx, sorted(named)) if named else set()


def _named(command: Command) -> list[str]:
    if command.spec.area != "sidebar" or command.spec.reads:
        return []
    given = command.data.__dict__
    named = [given.get("sidebar_id"), given.get("parent_id"), *given.get("cross_sidebar_refs", ())]
    return [sidebar_id for sidebar_id in named if sidebar_id is not None]


async def hold(tx: Transaction, command: Command, sidebar_id: str, *, in_closed_session: bool = False) -> Held:
    """Lock a sidebar that a command may write to. Raises `Rejected`: `not_found`, `forbidden`, `conflict`."""
    held = (await hold_all(tx, command, [sidebar_id]))[sidebar_id]
    if not in_closed_session:
        check_session(held)
    return held


async def hold_all(tx: Transaction, command: Command, sidebar_ids: Sequence[str]) -> dict[str, Held]:
    """Lock the sidebars that a command names. Raises `Rejected`: `not_found`, or `forbidden` for another's."""
    held = await store.sidebars.lock_sidebars(tx, sidebar_ids) if sidebar_ids else {}
    for sidebar_id in sidebar_ids:
        sidebars.check_access(known(held, sidebar_id, command).sidebar, command)
    return held


def known(held: Mapping[str, Held], sidebar_id: str, command: Command) -> Held:
    """One of these locked sidebars. Raises `Rejected("not_found")`, for a command that names another session too.

    Raises `SessionMissing` where nothing else is known of it: its `spawn_sidebar` may still be on its way. Who names
    the session is refused at once, or every command of that would wait.
    """
    found = held.get(sidebar_id)
    if found is None and command.session_id is None:
        raise SessionMissing(not_found("sidebar", sidebar_id))
    is_about = sidebar_id == getattr(command.data, "sidebar_id", None)
    if found is None or (is_about and command.session_id not in (None, found.sidebar.session_id)):
        raise not_found("sidebar", sidebar_id)
    return found


def check_session(held: Held) -> None:
    """Raise `Rejected("conflict")` when the sidebar's session is closed."""
    if held.session_status not in OPEN:
        session_id = held.sidebar.session_id
        raise conflict(
            f"session {session_id!r} is {held.session_status}; its sidebars can be read and archived, nothing else",
            session_id=session_id,
            status=held.session_status,
        )


async def add_history(tx: Transaction, command: Command, events: Iterable[Event]) -> None:
    """Write the moves that events tell of into the histories of their sidebars."""
    updates = [event for event in events if isinstance(event, SidebarStatusUpdate)]
    if updates:
        await store.sidebars.add_transitions(tx, updates, command.message_id)
