"""SQL that looks at many sidebars: lists, idle ones, what participants can do, where agents take part, figures."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text

from services.session_worker.store.sidebars import COLUMNS, sidebar_of
from shared.database import Transaction
from shared.messages import encode
from shared.messages.sidebar import AgentCapability, AgentContext, Collaboration, Sidebar

# How many of an agent's merged sidebars tell with whom it works, and how many agents are named.
_SHARED = 50
_COLLABORATORS = 5
# How far an agent's open sidebars are counted.
_COUNTED = 1_000
# An agent that nothing was heard of for so long counts as offline, as in list_agents.
_AWAY_SECONDS = 150

# Sidebars, the most recently active first: all by sidebars_by_activity, those of a session by sidebars_by_session, of a
# status by sidebars_by_status, the children of one by sidebars_by_parent; those of an agent are all looked up by
# sidebar_participants_by_agent, and then sorted.
_LIST = "select {columns} from {source} {where} order by s.last_activity desc, s.id desc limit :limit"
_CONDITIONS = {
    "session_id": "s.session_id = :session_id",
    "parent_id": "s.parent_id = :parent_id",
    "status": "s.status = :status",
}
_AFTER = "(s.last_activity, s.id) < (:activity, :id)"
_OF_AGENT = (
    "(select sidebar_id from sidebar_participants where agent_id = :agent offset 0) as p"
    " join sidebars as s on s.id = p.sidebar_id"
)
_WITH_ANOTHER = "exists (select from sidebar_participants as o where o.sidebar_id = s.id and o.agent_id = :other)"

# Whose children are all closed, by sidebars_by_parent: an open one still has something to bring up.
_NO_CHILD_OPEN = "not exists (select from sidebars as c where c.parent_id = sidebars.id and c.closed is null)"

# Open sidebars in which nothing has happened for long, by sidebars_idle.
_FIND_IDLE = text(f"""
    select id, session_id from sidebars
    where closed is null and last_activity < now() - make_interval(secs => :seconds) and {_NO_CHILD_OPEN}
    order by last_activity limit :limit
""")  # noqa: S608

# Those of these that are idle still, now that they are locked; by the primary key.
_STILL_IDLE = text(f"""
    select id from sidebars
    where id = any (array(select json_array_elements_text(cast(:ids as json))))
        and closed is null and last_activity < now() - make_interval(secs => :seconds) and {_NO_CHILD_OPEN}
    order by last_activity, id
""")  # noqa: S608

# What those who take part can do, a read of the task worker's registry by its primary key; how much each has to do, and
# with whom it has merged most, by sidebar_participants_by_agent.
_CAPABILITIES = text(f"""
    select p.agent_id, agents.capabilities, agents.status, agents.max_concurrent,
        agents.last_heartbeat < now() - interval '{_AWAY_SECONDS} seconds' as away,
        (select count(*) from tasks where tasks.agent_name = p.agent_id and tasks.lease_expires is not null) as in_hand,
        (
            select count(*) from (
                select from sidebar_participants as o where o.agent_id = p.agent_id and o.standing = 'open'
                limit {_COUNTED}
            ) as head
        ) as load,
        array(
            select o.agent_id from (
                select m.sidebar_id from sidebar_participants as m
                where m.agent_id = p.agent_id and m.standing = 'merged' order by m.since desc limit {_SHARED}
            ) as shared join sidebar_participants as o on o.sidebar_id = shared.sidebar_id
            where o.agent_id <> p.agent_id
            group by o.agent_id order by count(*) desc, o.agent_id limit {_COLLABORATORS}
        ) as collaborators
    from sidebar_participants as p left join agents on agents.name = p.agent_id
    where p.sidebar_id = :id order by p.position
""")  # noqa: S608

# Where agents take part: open sessions, by sessions_by_participant and session_agents_by_agent, and open sidebars, by
# sidebar_participants_by_agent.
_CONTEXTS = text("""
    select a.agent_id,
        array(
            select id from (
                select id, last_activity from sessions
                where participants @> jsonb_build_array(a.agent_id)
                    and status in ('active', 'paused') and participants <> '[]'
                union
                select s.id, s.last_activity from session_agents as sa join sessions as s on s.id = sa.session_id
                where sa.agent_id = a.agent_id and sa.status = 'active' and s.status in ('active', 'paused')
            ) as taking_part order by last_activity desc, id limit 200
        ) as sessions,
        array(
            select s.id from (
                select sidebar_id from sidebar_participants as p
                where p.agent_id = a.agent_id and p.standing = 'open' order by p.since desc limit 1000
            ) as open_ones join sidebars as s on s.id = open_ones.sidebar_id
            order by s.last_activity desc, s.id limit 200
        ) as sidebars
    from json_array_elements_text(cast(:agents as json)) with ordinality as a (agent_id, place)
    order by a.place
""")


class Filters(NamedTuple):
    """Which sidebars a list holds; those of `agent`, which is whoever asks unless that is an admin."""

    session_id: str | None
    parent_id: str | None
    status: str | None
    agent: str | None
    other: str | None


async def list_sidebars(
    tx: Transaction, filters: Filters, after: tuple[datetime, str] | None, limit: int
) -> list[Sidebar]:
    """Up to `limit` sidebars after a sort key, the most recently active first."""
    conditions = [condition for name, condition in _CONDITIONS.items() if getattr(filters, name) is not None]
    if filters.other is not None:
        conditions.append(_WITH_ANOTHER)
    if after is not None:
        conditions.append(_AFTER)
    statement = _LIST.format(
        columns=COLUMNS,
        source="sidebars as s" if filters.agent is None else _OF_AGENT,
        where=f"where {' and '.join(conditions)}" if conditions else "",
    )
    activity, identifier = after or (None, None)
    values = {**filters._asdict(), "activity": activity, "id": identifier, "limit": limit}
    used = {name: value for name, value in values.items() if value is not None}
    return [sidebar_of(row) for row in await tx.execute(text(statement), used)]


async def find_idle(tx: Transaction, hours: float, limit: int) -> list[tuple[str, str]]:
    """Up to `limit` open sidebars idle for so long, each with its session, those first that are so for longest."""
    rows = await tx.execute(_FIND_IDLE, {"seconds": hours * 3600, "limit": limit})
    return [(row.id, row.session_id) for row in rows]


async def still_idle(tx: Transaction, sidebar_ids: Sequence[str], hours: float) -> list[str]:
    """Those of these sidebars, which must be locked, that are open and idle for so long."""
    values = {"ids": encode(list(sidebar_ids)).decode(), "seconds": hours * 3600}
    return list((await tx.execute(_STILL_IDLE, values)).scalars())


async def list_capabilities(tx: Transaction, sidebar_id: str) -> list[AgentCapability]:
    """What each participant of a sidebar can do, in their order; who is not registered has no specialties."""
    return [
        AgentCapability(
            agent_id=row.agent_id,
            specialties=row.capabilities or [],
            availability=_availability(row),
            current_load=row.load,
            preferred_collaborators=row.collaborators,
        )
        for row in await tx.execute(_CAPABILITIES, {"id": sidebar_id})
    ]


def _availability(row: Any) -> Any:
    if row.status is None:
        return "unknown"
    if row.away:
        return "offline"
    return "busy" if 0 < row.max_concurrent <= row.in_hand else "available"


async def list_contexts(tx: Transaction, agents: Sequence[str]) -> list[AgentContext]:
    """Where agents take part, in their order."""
    rows = await tx.execute(_CONTEXTS, {"agents": encode(list(agents)).decode()})
    return [AgentContext(agent_id=row.agent_id, sessions=row.sessions, sidebars=row.sidebars) for row in rows]


def _of(asker: str | None, session_id: str | None) -> str:
    """What narrows figures down to a session, or to the sidebars that somebody takes part in."""
    conditions = ["true"]
    if session_id is not None:
        conditions.append("s.session_id = :session_id")
    if asker is not None:
        conditions.append(
            "exists (select from sidebar_participants as p where p.sidebar_id = s.id and p.agent_id = :asker)"
        )
    return " and ".join(conditions)


class Figures(NamedTuple):
    """How sidebars go; see `SidebarFigures`."""

    by_status: dict[str, int]
    spawned: int
    forked: int
    children: int
    depth: float | None
    merged: int
    successful: int
    lifespan_mean: float | None
    lifespan_p50: float | None
    collaborations: list[Collaboration]


async def find_figures(tx: Transaction, hours: int, session_id: str | None, asker: str | None) -> Figures:
    """The figures of the last hours, of a session and of whom somebody takes part in, where those are given.

    Open sidebars by sidebars_idle, spawned ones by sidebars_by_created, closed ones by sidebars_by_closed.
    """
    of = _of(asker, session_id)
    given = {"session_id": session_id, "asker": asker}
    narrowed = {name: value for name, value in given.items() if value is not None}
    used = {**narrowed, "hours": hours}
    window = "now() - make_interval(hours => :hours)"
    still_open = await tx.execute(
        text(f"select s.status, count(*) as n from sidebars as s where s.closed is null and {of} group by s.status"),  # noqa: S608
        narrowed,
    )
    spawned = (
        await tx.execute(
            text(f"""
                select count(*) as spawned, count(s.forked_from) as forked, count(s.parent_id) as children,
                    cast(avg(least(s.lineage, s.inherit_depth)) as float8) as depth
                from sidebars as s where s.created >= {window} and {of}
            """),  # noqa: S608
            used,
        )
    ).one()
    closed = await tx.execute(
        text(f"""
            select s.status, count(*) as n, count(s.success) as merged, count(*) filter (where s.success) as successful
            from sidebars as s where s.closed >= {window} and {of} group by s.status
        """),  # noqa: S608
        used,
    )
    lifespan = (
        await tx.execute(
            text(f"""
                select cast(avg(seconds) as float8) as mean,
                    percentile_cont(0.5) within group (order by seconds) as p50
                from (
                    select cast(extract(epoch from s.closed - s.created) as float8) as seconds
                    from sidebars as s where s.closed >= {window} and {of}
                ) as lived
            """),  # noqa: S608
            used,
        )
    ).one()
    pairs = await tx.execute(
        text(f"""
            with lately as (
                select s.id from sidebars as s where s.created >= {window} and {of} order by s.created desc limit 2000
            )
            select one.agent_id as one, other.agent_id as other, count(*) as n
            from lately join sidebar_participants as one on one.sidebar_id = lately.id and one.position <= 20
            join sidebar_participants as other on other.sidebar_id = lately.id and other.position <= 20
                and one.agent_id < other.agent_id
            group by 1, 2 order by 3 desc, 1, 2 limit 10
        """),  # noqa: S608
        used,
    )
    ended = closed.all()
    return Figures(
        by_status={row.status: row.n for row in [*still_open, *ended]},
        spawned=spawned.spawned,
        forked=spawned.forked,
        children=spawned.children,
        depth=spawned.depth,
        merged=sum(row.merged for row in ended),
        successful=sum(row.successful for row in ended),
        lifespan_mean=lifespan.mean,
        lifespan_p50=lifespan.p50,
        collaborations=[Collaboration(agents=[row.one, row.other], sidebars=row.n) for row in pairs],
    )
