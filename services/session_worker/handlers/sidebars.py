"""Opening sidebars, under a session, under another sidebar or as a fork; and the table of all that is done to them."""

from collections.abc import Sequence

from services.session_worker import data_refs, sidebars, store
from services.session_worker.forks import memories_of_then
from services.session_worker.handlers import sidebar_merges, sidebar_moves, sidebar_posts
from services.session_worker.handlers.sidebar_locks import add_history, hold, hold_all
from shared.bus.replies import BatchHandler, Handler, Reply
from shared.database import Transaction
from shared.errors import Rejected, conflict, invalid
from shared.messages import Command, Event, new_id, now
from shared.messages.sidebar import Sidebar
from shared.messages.sidebar_commands import ForkSidebar, SpawnSidebar
from shared.messages.sidebar_events import SidebarChildSpawn, SidebarFork, SidebarSpawn

# So many memories of its session a new sidebar refers to, and so many things inherited the event of a new one names.
MAX_REFS = 200
# From how many sidebars above it a child inherits, unless a setting says otherwise.
INHERIT_DEPTH = 5
IDLE_HOURS = 72.0
# Once so much was said in a review, it is told only of collisions that bring somebody new.
MOST_JOINED = 200


def spawn_sidebar(inherit_depth: int) -> Handler:
    """The handler that opens sidebars whose children inherit from so many sidebars above them."""

    async def spawn_sidebar(tx: Transaction, command: Command) -> Reply:
        """Open a sidebar; an id that is taken is a conflict."""
        asked: SpawnSidebar = command.data
        if asked.review_of is not None:
            _check_reviewer(command)
            if review := await store.sidebars.find_review(tx, asked.session_id, asked.review_of):
                return await _join_review(tx, command, review)
        parent_id = await _parent_id(tx, asked)
        named = [*([parent_id] if parent_id is not None else []), *asked.cross_sidebar_refs]
        held = await hold_all(tx, command, named)
        parent = held.get(parent_id or "")
        if parent is not None and asked.at_seq is not None:
            raise invalid("`at_seq` is a place in the session; what a sidebar under another inherits is that one's")
        references = data_refs.checked(asked.data_refs)
        if parent is not None:
            _check_parent(asked, parent.sidebar)
            references = data_refs.united(parent.sidebar.data_refs, references)
        opened = store.sidebars.Opened(
            inherits_seq=parent.sidebar.exchange_count if parent else 0,
            inherit_depth=inherit_depth,
            lineage=_lineage(parent),
            memory_refs=[] if parent else await _memories(tx, asked),
            requested_by=command.sender_agent_id,
        )
        sidebar = Sidebar(
            sidebar_id=asked.sidebar_id or new_id(),
            session_id=asked.session_id,
            parent_id=parent_id,
            forked_from=None,
            child_sidebar_ids=[],
            participants=sidebars.participants_of(asked.participants, asked.coordinator),
            coordinator=asked.coordinator,
            task_description=asked.task_description,
            success_criteria=asked.success_criteria,
            status="active",
            priority=asked.priority or (parent.sidebar.priority if parent else "normal"),
            reason=None,
            data_refs=references,
            cross_sidebar_refs=list(dict.fromkeys(named)),
            waiting_for=None,
            review_of=asked.review_of,
            exchange_count=0,
            success=None,
            created=now(),
            last_activity=now(),
        )
        sidebar = await _insert(tx, command, sidebar, opened)
        refs = await store.sidebar_exchanges.list_refs(tx, sidebar.sidebar_id, MAX_REFS)
        spawn = sidebars.told(
            SidebarSpawn,
            sidebar,
            priority=sidebar.priority,
            parent_id=parent_id or asked.session_id,
            participants=sidebar.participants,
            inherited_context=[*refs.memories, *refs.exchanges],
            task_description=sidebar.task_description,
            success_criteria=sidebar.success_criteria,
            requested_by=command.sender_agent_id,
        )
        if parent is None:
            return Reply({"sidebar": sidebar}, [spawn])
        return Reply({"sidebar": sidebar}, await _with_child(tx, command, parent.sidebar, sidebar, spawn))

    return spawn_sidebar


async def _memories(tx: Transaction, asked: SpawnSidebar) -> list[tuple[str, int]]:
    """What a sidebar right under a session begins with."""
    if asked.at_seq is None:
        return await store.sidebars.find_memories(tx, asked.session_id, MAX_REFS)
    return await memories_of_then(tx, asked.session_id, asked.at_seq, MAX_REFS)


async def _parent_id(tx: Transaction, asked: SpawnSidebar) -> str | None:
    """The sidebar to hang under; who names the session itself, as events do, means the session."""
    if asked.parent_id == asked.session_id and not await store.sidebars.find_sessions(tx, [asked.session_id]):
        return None
    return asked.parent_id


def _check_reviewer(command: Command) -> None:
    """Raise unless the system itself asks for a review, past every door, or an admin."""
    if not command.by_admin and (command.caller is not None or command.sender_agent_id != "system"):
        raise Rejected(
            "forbidden",
            "`review_of` is for the system, which opens a review when two agents write a memory at once, and for "
            "admins; leave it out",
        )


def _check_parent(asked: SpawnSidebar, parent: Sidebar) -> None:
    if parent.session_id != asked.session_id:
        raise invalid(
            f"sidebar {parent.sidebar_id!r} belongs to session {parent.session_id!r}, and its children do too",
            fields=[{"field": "session_id", "fault": "is not the parent's session", "kind": "value_error"}],
        )
    sidebars.check_open(parent)
    if "spawning_child" not in sidebars.TRANSITIONS[parent.status]:
        raise conflict(
            f"sidebar {parent.sidebar_id!r} is {parent.status}, and can't become spawning_child: children are opened "
            "from active, testing, waiting or reviewing ones",
            sidebar_id=parent.sidebar_id,
            status=parent.status,
            wanted="spawning_child",
            allowed=sorted(sidebars.TRANSITIONS[parent.status]),
        )


def _lineage(source: store.sidebars.Held | None) -> int:
    if source is None:
        return 0
    if source.lineage + 1 > sidebars.MAX_LINEAGE:
        raise conflict(
            f"sidebar {source.sidebar.sidebar_id!r} is the {sidebars.MAX_LINEAGE}th of a chain of sidebars that "
            "inherit from each other, which may not get longer; open a new one under the session",
            sidebar_id=source.sidebar.sidebar_id,
        )
    return source.lineage + 1


async def _insert(tx: Transaction, command: Command, sidebar: Sidebar, opened: store.sidebars.Opened) -> Sidebar:
    """Open a sidebar that refers to others, as it is kept. Raises `Rejected("conflict")` when its id is taken."""
    created = await store.sidebars.insert_sidebar(tx, sidebar, opened, command.message_id)
    if created is None and sidebar.review_of is not None:
        # A review opened again after the last one was closed.
        sidebar = sidebar.model_copy(update={"sidebar_id": new_id()})
        created = await store.sidebars.insert_sidebar(tx, sidebar, opened, command.message_id)
    if created is None:
        raise conflict(f"sidebar {sidebar.sidebar_id!r} exists already", sidebar_id=sidebar.sidebar_id)
    if sidebar.cross_sidebar_refs:
        await store.sidebars.link(tx, sidebar.sidebar_id, sidebar.cross_sidebar_refs)
    return sidebar.model_copy(update={"created": created, "last_activity": created})


async def _with_child(
    tx: Transaction, command: Command, parent: Sidebar, child: Sidebar, spawn: SidebarSpawn
) -> list[Event]:
    """What is told of a child: its parent is `spawning_child` until it is there, and then what it was before."""
    by, moment = command.sender_agent_id, child.created
    reason = f"opening {child.sidebar_id}"[:2_000]
    spawning, leaving = sidebars.moved(parent, "spawning_child", reason=reason, by=by, moment=moment)
    spawning = _linked(spawning, child, as_child=True)
    after, returning = sidebars.moved(spawning, parent.status, reason=parent.reason, by=by, moment=moment)
    await store.sidebars.save_sidebars(tx, [after])
    await add_history(tx, command, [*leaving, *returning])
    born = sidebars.told(
        SidebarChildSpawn,
        spawning,
        parent_sidebar_id=parent.sidebar_id,
        child_sidebar_id=child.sidebar_id,
        sub_task_description=child.task_description,
        assigned_agents=child.participants,
        spawned_by=by,
    )
    return [*leaving, spawn, born, *returning]


def _linked(sidebar: Sidebar, other: Sidebar, *, as_child: bool = False) -> Sidebar:
    """The sidebar with another that refers to it."""
    links = [*sidebar.cross_sidebar_refs, other.sidebar_id][-store.sidebars.NAMED :]
    children = [*sidebar.child_sidebar_ids, *([other.sidebar_id] if as_child else [])][-store.sidebars.NAMED :]
    return sidebar.model_copy(update={"cross_sidebar_refs": links, "child_sidebar_ids": children})


async def _join_review(tx: Transaction, command: Command, review_id: str) -> Reply:
    """Bring more participants and versions to the open review of a memory; told as something said there."""
    asked: SpawnSidebar = command.data
    held = (await store.sidebars.lock_sidebars(tx, [review_id]))[review_id]
    review = held.sidebar
    newcomers = [agent for agent in dict.fromkeys(asked.participants) if agent not in review.participants]
    newcomers = newcomers[: 100 - len(review.participants)]
    if not newcomers and review.exchange_count >= MOST_JOINED:
        return Reply({"sidebar": review})
    if newcomers:
        await store.sidebars.add_participants(tx, review, newcomers)
        review = review.model_copy(update={"participants": [*review.participants, *newcomers]})
    references = data_refs.checked(asked.data_refs)
    said = sidebar_posts.Said("post", asked.task_description or f"{asked.review_of} was written again", references, [])
    try:
        review, exchange = sidebar_posts.said_in(review, said, command, held.moment)
    except Rejected:
        # Too much to refer to: the sidebar's references stay as they are, the exchange has its own.
        review, exchange = sidebar_posts.said_in(review, said._replace(data_refs=data_refs.NONE), command, held.moment)
        exchange = exchange.model_copy(update={"data_refs": references})
    event = sidebar_posts.posted(review, exchange)
    await store.sidebar_exchanges.insert_exchanges(tx, [exchange])
    await store.sidebars.save_sidebars(tx, [review])
    return Reply({"sidebar": review}, [event])


async def fork_sidebar(tx: Transaction, command: Command) -> Reply:
    """Open a sidebar that knows all another one knows, be that closed; an id that is taken is a conflict."""
    asked: ForkSidebar = command.data
    held = await hold(tx, command, asked.sidebar_id)
    origin = held.sidebar
    participants = sidebars.participants_of(asked.participants or origin.participants, None)
    fork = origin.model_copy(
        update={
            "sidebar_id": asked.new_sidebar_id or new_id(),
            "parent_id": None,
            "forked_from": origin.sidebar_id,
            "child_sidebar_ids": [],
            "participants": participants,
            "coordinator": origin.coordinator if origin.coordinator in participants else None,
            "status": "active",
            "reason": asked.reason,
            "cross_sidebar_refs": [origin.sidebar_id],
            "waiting_for": None,
            "review_of": None,
            "exchange_count": 0,
            "success": None,
        }
    )
    opened = store.sidebars.Opened(
        inherits_seq=origin.exchange_count,
        inherit_depth=held.inherit_depth,
        lineage=_lineage(held),
        memory_refs=[],
        requested_by=command.sender_agent_id,
    )
    fork = await _insert(tx, command, fork, opened)
    events: Sequence[Event] = [
        sidebars.told(
            SidebarFork,
            sidebar,
            original_sidebar_id=origin.sidebar_id,
            new_sidebar_id=fork.sidebar_id,
            fork_reason=asked.reason,
            participants=participants,
            forked_by=command.sender_agent_id,
        )
        for sidebar in (_linked(origin, fork), fork)
    ]
    return Reply({"sidebar": fork}, list(events))


def handlers(inherit_depth: int = INHERIT_DEPTH, idle_hours: float = IDLE_HOURS) -> dict[str, Handler]:
    """The commands of sidebars: children inherit from so many above them, idle ones are archived after so long."""
    return {
        "spawn_sidebar": spawn_sidebar(inherit_depth),
        "fork_sidebar": fork_sidebar,
        **sidebar_moves.HANDLERS,
        **sidebar_posts.HANDLERS,
        **sidebar_merges.HANDLERS,
        "archive_idle_sidebars": sidebar_moves.archive_idle_sidebars(idle_hours),
    }


HANDLERS: dict[str, Handler] = handlers()
BATCH_HANDLERS: dict[str, BatchHandler] = sidebar_posts.BATCH_HANDLERS
