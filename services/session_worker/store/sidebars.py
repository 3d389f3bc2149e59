"""SQL of sidebars: found, locked, opened and changed; who takes part in them, how they are linked, their history."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.engine import Row

from shared.database import Transaction
from shared.messages import JsonText, encode, rfc3339
from shared.messages.sidebar import Sidebar, StatusChange
from shared.messages.sidebar_events import SidebarStatusUpdate

# Of children and linked sidebars, so many are named with a sidebar.
NAMED = 100


class Held(NamedTuple):
    """A sidebar that is locked, with its session's status, this moment, and how it inherits."""

    sidebar: Sidebar
    session_status: str
    moment: str
    inherit_depth: int
    lineage: int


class Opened(NamedTuple):
    """How a new sidebar inherits, beside what it is; memories in force as (key, version)."""

    inherits_seq: int
    inherit_depth: int
    lineage: int
    memory_refs: Sequence[tuple[str, int]]
    requested_by: str


# A sidebar whole: its children by sidebars_by_parent, its participants by their primary key, its links by
# sidebar_links_newest.
COLUMNS = f"""s.id, s.session_id, s.parent_id, s.forked_from, s.coordinator, s.task_description, s.success_criteria,
    s.status, s.priority, s.reason, s.data_refs::text as data_refs, s.waiting_for, s.review_of, s.exchange_count,
    s.success, s.created, s.last_activity,
    array(
        select child.id from sidebars as child where child.parent_id = s.id order by child.created desc limit {NAMED}
    ) as children,
    array(
        select agent_id from sidebar_participants as p where p.sidebar_id = s.id order by position
    ) as participants,
    array(
        select linked_id from sidebar_links as l where l.sidebar_id = s.id order by l.created desc, linked_id
        limit {NAMED}
    ) as links"""  # noqa: S608 (a constant above)

# The sessions of sidebars; by the primary key.
_FIND_SESSIONS = text("""
    select distinct session_id from sidebars
    where id = any (array(select json_array_elements_text(cast(:ids as json))))
""")

# A sidebar to be looked at, with what its merge has brought up; by the primary key.
_FIND = text(f"select {COLUMNS}, s.findings::text as findings from sidebars as s where s.id = :id")  # noqa: S608

# Sidebars to be changed, by the primary key; their sessions are locked first, if the worker runtime has not done so
# already, and in one order, so that two workers never wait for each other.
_LOCK = text(f"""
    select {COLUMNS}, sessions.status as session_status, now() as moment, s.inherit_depth, s.lineage
    from sidebars as s join sessions on sessions.id = s.session_id
    where s.id = any (array(select json_array_elements_text(cast(:ids as json))))
    order by s.session_id, s.id
    for no key update of sessions, s
""")  # noqa: S608

# The open review of a memory, by sidebars_reviews.
_FIND_REVIEW = text("""
    select id from sidebars where session_id = :session_id and review_of = :key
        and review_of is not null and closed is null
""")

# The memories in force of a session, the newest of them; a read of the memory worker's table, by memories_by_session.
_FIND_MEMORIES = text("""
    select key, version from memories where session_id = :session_id and forgotten is null
    order by updated desc, key desc limit :limit
""")

# The newest memories that were in force at a moment: those that are since then, and those replaced since then; both
# by the primary keys.
_FIND_MEMORIES_AT = text("""
    select key, version from (
        select key, version, updated from memories
        where session_id = :session_id and forgotten is null and updated <= :moment
        union all
        select key, version, updated from memory_versions
        where session_id = :session_id and forgotten is null and updated <= :moment and replaced > :moment
    ) as those
    order by updated desc, key desc limit :limit
""")

# A new sidebar with those who take part and the first line of its history; nothing when the id is taken. By the primary
# keys.
_INSERT = text("""
    with opened as (
        insert into sidebars (
            id, session_id, parent_id, forked_from, inherits_seq, inherit_depth, lineage, memory_refs, coordinator,
            requested_by, task_description, success_criteria, priority, reason, data_refs, review_of
        ) values (
            :sidebar_id, :session_id, :parent_id, :forked_from, :inherits_seq, :inherit_depth, :lineage,
            cast(:memory_refs as json), :coordinator, :requested_by, :task_description, :success_criteria, :priority,
            :reason, cast(:data_refs as json), :review_of
        )
        on conflict (id) do nothing
        returning id, created
    ), joined as (
        insert into sidebar_participants (sidebar_id, agent_id, position)
        select opened.id, agent_id, position
        from opened, json_array_elements_text(cast(:participants as json)) with ordinality as p (agent_id, position)
    ), begun as (
        insert into sidebar_transitions (sidebar_id, to_status, by_agent, reason, message_id)
        select id, 'active', :requested_by, :reason, :message_id from opened
    )
    select created from opened
""")

# More of those who take part, behind those there are; by the primary key.
_JOIN = text("""
    insert into sidebar_participants (sidebar_id, agent_id, position)
    select :id, agent_id, :after + position
    from json_array_elements_text(cast(:participants as json)) with ordinality as p (agent_id, position)
    on conflict (sidebar_id, agent_id) do nothing
""")

# Sidebars that refer to each other, each pair both ways; by the primary key.
_LINK = text("""
    insert into sidebar_links (sidebar_id, linked_id)
    select pair.* from json_array_elements_text(cast(:others as json)) as other (id),
        lateral (values (:id, other.id), (other.id, :id)) as pair (sidebar_id, linked_id)
    on conflict (sidebar_id, linked_id) do nothing
""")

# What has become of sidebars; by the primary key. The activity is indexed, so it moves as the caller says.
_SAVE = text("""
    update sidebars as s set
        status = saved.status, reason = saved.reason, waiting_for = saved.waiting_for, data_refs = saved.data_refs,
        exchange_count = saved.exchange_count, success = saved.success, last_activity = saved.last_activity,
        closed = case when saved.status in ('merged', 'archived', 'failed') then coalesce(s.closed, now()) end
    from json_to_recordset(cast(:rows as json)) as saved (
        sidebar_id text, status text, reason text, waiting_for text, data_refs json, exchange_count int, success bool,
        last_activity timestamptz
    )
    where s.id = saved.sidebar_id
""")
_SAVED = ("sidebar_id", "status", "reason", "waiting_for", "data_refs", "exchange_count", "success", "last_activity")

# The end of sidebars, for those who took part; by the primary key of sidebar_participants.
_END = text("""
    update sidebar_participants as p set standing = ended.standing, since = now()
    from json_to_recordset(cast(:rows as json)) as ended (sidebar_id text, standing text)
    where p.sidebar_id = ended.sidebar_id and p.standing <> ended.standing
""")

_SAVE_FINDINGS = text("update sidebars set findings = cast(:findings as json) where id = :id")

# The history of statuses.
_INSERT_TRANSITIONS = text("""
    insert into sidebar_transitions (sidebar_id, from_status, to_status, by_agent, reason, message_id)
    select sidebar_id, old_status, new_status, updated_by, reason, :message_id
    from json_to_recordset(cast(:rows as json)) as t (
        sidebar_id text, old_status text, new_status text, updated_by text, reason text
    )
""")

# The latest moves of a sidebar, by sidebar_transitions_by_sidebar.
_LIST_TRANSITIONS = text("""
    select from_status, to_status, by_agent, reason, at from sidebar_transitions
    where sidebar_id = :id order by id desc limit :limit
""")


async def find_sessions(tx: Transaction, sidebar_ids: Sequence[str]) -> set[str]:
    """The sessions of those of these sidebars that exist."""
    return set((await tx.execute(_FIND_SESSIONS, {"ids": _json(sidebar_ids)})).scalars())


async def find_sidebar(tx: Transaction, sidebar_id: str) -> tuple[Sidebar, JsonText] | None:
    """A sidebar as it is now with the findings of its merge; None when there is none."""
    row = (await tx.execute(_FIND, {"id": sidebar_id})).one_or_none()
    if row is None:
        return None
    return sidebar_of(row), JsonText((row.findings or "null").encode())


async def lock_sidebars(tx: Transaction, sidebar_ids: Sequence[str]) -> dict[str, Held]:
    """Those of these sidebars that exist, locked until the transaction ends."""
    rows = await tx.execute(_LOCK, {"ids": _json(sidebar_ids)})
    return {
        row.id: Held(sidebar_of(row), row.session_status, rfc3339(row.moment), row.inherit_depth, row.lineage)
        for row in rows
    }


async def find_review(tx: Transaction, session_id: str, key: str) -> str | None:
    """The id of the open review of a memory; None when there is none."""
    found: str | None = (await tx.execute(_FIND_REVIEW, {"session_id": session_id, "key": key})).scalar_one_or_none()
    return found


async def find_memories(tx: Transaction, session_id: str, limit: int) -> list[tuple[str, int]]:
    """The newest memories in force of a session, as (key, version): what the memory worker has written."""
    rows = await tx.execute(_FIND_MEMORIES, {"session_id": session_id, "limit": limit})
    return [(row.key, row.version) for row in rows]


async def find_memories_at(tx: Transaction, session_id: str, moment: datetime, limit: int) -> list[tuple[str, int]]:
    """The newest memories that were in force in a session at a moment, as (key, version)."""
    values = {"session_id": session_id, "moment": moment, "limit": limit}
    return [(row.key, row.version) for row in await tx.execute(_FIND_MEMORIES_AT, values)]


async def insert_sidebar(tx: Transaction, sidebar: Sidebar, opened: Opened, message_id: str) -> str | None:
    """Open a sidebar; returns the moment, or None when its id is taken."""
    values = {
        **{name: getattr(sidebar, name) for name in _GIVEN},
        **opened._asdict(),
        "data_refs": str(sidebar.data_refs),
        "participants": _json(sidebar.participants),
        "memory_refs": _json(opened.memory_refs),
        "message_id": message_id,
    }
    created: datetime | None = (await tx.execute(_INSERT, values)).scalar_one_or_none()
    return None if created is None else rfc3339(created)


_GIVEN = (
    "sidebar_id", "session_id", "parent_id", "forked_from", "coordinator", "task_description", "success_criteria",
    "priority", "reason", "review_of",
)  # fmt: skip


async def add_participants(tx: Transaction, sidebar: Sidebar, agents: Sequence[str]) -> None:
    """Let more agents take part in a sidebar."""
    values = {"id": sidebar.sidebar_id, "after": len(sidebar.participants), "participants": _json(agents)}
    await tx.execute(_JOIN, values)


async def link(tx: Transaction, sidebar_id: str, others: Sequence[str]) -> None:
    """Let a sidebar and others refer to each other."""
    await tx.execute(_LINK, {"id": sidebar_id, "others": _json(others)})


async def save_sidebars(tx: Transaction, sidebars: Sequence[Sidebar]) -> None:
    """Write what has become of locked sidebars."""
    await tx.execute(_SAVE, {"rows": _json([{name: getattr(one, name) for name in _SAVED} for one in sidebars])})
    # One that is put away after its merge stays a merged one.
    ended = [
        {"sidebar_id": one.sidebar_id, "standing": "ended" if one.success is None else "merged"}
        for one in sidebars
        if one.status in ("merged", "archived", "failed")
    ]
    if ended:
        await tx.execute(_END, {"rows": _json(ended)})


async def save_findings(tx: Transaction, sidebar_id: str, findings: JsonText) -> None:
    """Keep what the merge of a sidebar has brought up."""
    await tx.execute(_SAVE_FINDINGS, {"id": sidebar_id, "findings": str(findings)})


async def add_transitions(tx: Transaction, updates: Sequence[SidebarStatusUpdate], message_id: str) -> None:
    """Write moves, given as the events that tell of them, into their sidebars' histories."""
    names = ("sidebar_id", "old_status", "new_status", "updated_by", "reason")
    rows = [{name: getattr(update, name) for name in names} for update in updates]
    await tx.execute(_INSERT_TRANSITIONS, {"rows": _json(rows), "message_id": message_id})


async def list_transitions(tx: Transaction, sidebar_id: str, limit: int) -> list[StatusChange]:
    """The latest moves of a sidebar, the oldest of them first."""
    rows = (await tx.execute(_LIST_TRANSITIONS, {"id": sidebar_id, "limit": limit})).all()
    return [
        StatusChange(
            from_status=row.from_status, to_status=row.to_status, by=row.by_agent, reason=row.reason, at=rfc3339(row.at)
        )
        for row in reversed(rows)
    ]


def sidebar_of(row: Row[Any]) -> Sidebar:
    """The sidebar of a row with `COLUMNS`."""
    return Sidebar.trusted(
        {
            "sidebar_id": row.id,
            "session_id": row.session_id,
            "parent_id": row.parent_id,
            "forked_from": row.forked_from,
            "child_sidebar_ids": row.children[::-1],
            "participants": row.participants,
            "coordinator": row.coordinator,
            "task_description": row.task_description,
            "success_criteria": row.success_criteria,
            "status": row.status,
            "priority": row.priority,
            "reason": row.reason,
            "data_refs": JsonText(row.data_refs.encode()),
            "cross_sidebar_refs": row.links[::-1],
            "waiting_for": row.waiting_for,
            "review_of": row.review_of,
            "exchange_count": row.exchange_count,
            "success": row.success,
            "created": rfc3339(row.created),
            "last_activity": rfc3339(row.last_activity),
        }
    )


def _json(value: Any) -> str:
    return encode(value).decode()
