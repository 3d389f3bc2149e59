"""The statements about sidebars find their rows by an index, however many there are."""

import re
from datetime import UTC, datetime

import pytest

from services.session_worker import store
from services.session_worker.store.sidebar_lists import Filters
from shared.database import Database
from shared.messages import JsonText
from shared.messages.sidebar import Exchange
from shared.messages.sidebar_events import SidebarStatusUpdate
from tests.integration.session_worker.conftest import SessionWorker

MOMENT = datetime(2026, 1, 1, 4, tzinfo=UTC)
EVERYTHING = Filters(None, None, None, None, None)


@pytest.fixture(scope="module")
def full(module_worker):
    """100,000 exchanges in one of 5,000 sidebars, under 20,000 sessions with participants and agents."""
    module_worker.sql("""
        insert into sessions (id, participants) select 's' || n,
            case when n % 10 = 0 then jsonb_build_array('agent' || n % 500, 'agent' || n % 301) else '[]' end
        from generate_series(1, 20000) n
    """)
    module_worker.sql("""
        insert into session_agents (session_id, agent_id, type, metadata, result, spawned_by)
        select 's' || n, 'agent' || n % 500, 'x', '{}', 'null', 'ada' from generate_series(1, 20000) n
    """)
    module_worker.sql("""
        insert into sidebars (
            id, session_id, parent_id, inherits_seq, inherit_depth, memory_refs, requested_by, task_description, status,
            priority, data_refs, findings, success, closed, last_activity, review_of
        )
        select 'sb' || n, 's' || 1 + n % 100, case when n % 5 = 0 then 'sb' || n / 5 end, n % 7, 5, '[["k1", 1]]',
            'ada', 't', status, 'normal', '{}', case status when 'merged' then 'null'::json end,
            case status when 'merged' then true end, case when status <> 'active' then now() end,
            timestamptz '2026-01-01' + n * interval '1 second', case when n % 50 = 0 then 'k' || n end
        from generate_series(1, 5000) n,
            lateral (select (array['active', 'merged', 'archived', 'merged'])[n % 4 + 1]) as a (status)
    """)
    module_worker.sql("""
        insert into sidebar_participants (sidebar_id, agent_id, position, standing)
        select id, 'agent' || agent, row_number() over (partition by id),
            case status when 'active' then 'open' when 'merged' then 'merged' else 'ended' end
        from (
            select distinct id, status, (substr(id, 3)::int * 7 + k * 13) % 500 as agent
            from sidebars, generate_series(1, 3) k
        ) as x
    """)
    module_worker.sql("""
        insert into sidebar_exchanges (sidebar_id, seq, exchange_id, kind, author, text, data_refs, message_id)
        select 'sb1', n, 'e' || n, 'post', 'ada', 'x', '{}', 'm' from generate_series(1, 100000) n
    """)
    module_worker.sql("""
        insert into sidebar_transitions (sidebar_id, to_status, by_agent, message_id)
        select id, 'active', 'ada', 'm' from sidebars, generate_series(1, 4)
    """)
    module_worker.sql("""
        insert into sidebar_links (sidebar_id, linked_id)
        select id, 'sb' || 1 + (substr(id, 3)::int + k) % 5000 from sidebars, generate_series(1, 3) k
    """)
    module_worker.sql("""
        insert into memories (session_id, key, type, content, version, author, message_id, updated)
        select 's' || 1 + n % 100, 'k' || n / 100, 'fact', '1', 2, 'ada', 'm', now() - n * interval '1 second'
        from generate_series(0, 4999) n
    """)
    module_worker.sql("""
        insert into memory_versions
            (session_id, key, version, type, content, tags, author, message_id, created, updated, replaced)
        select session_id, key, 1, type, content, tags, author, message_id, created, updated, now() from memories
    """)
    module_worker.sql("update sidebars set inherits_seq = 90000 where parent_id = 'sb1'")
    for table in ("sessions", "session_agents", "sidebars", "sidebar_participants", "sidebar_exchanges",
                  "sidebar_transitions", "sidebar_links", "memories", "memory_versions"):  # fmt: skip
        module_worker.sql(f"analyze {table}")
    return module_worker


def said(seq):
    return Exchange.trusted(
        {
            "exchange_id": "e", "sidebar_id": "sb2", "seq": seq, "kind": "post", "author": "ada", "text": "x",
            "data_refs": JsonText(b"{}"), "mentions": ["bob"], "origin_sidebar_id": None, "message_id": "m",
            "created": "2026-01-02T03:04:05.000006Z",
        }
    )  # fmt: skip


async def save(tx):
    held = await store.sidebars.lock_sidebars(tx, ["sb8"])
    await store.sidebars.save_sidebars(tx, [held["sb8"].sidebar.model_copy(update={"status": "archived"})])


async def list_with(tx, **filters):
    return await store.sidebar_lists.list_sidebars(tx, EVERYTHING._replace(**filters), None, 50)


READS = {
    "find": (lambda tx: store.sidebars.find_sidebar(tx, "sb77"), "sidebars_pkey"),
    "list": (lambda tx: list_with(tx), "sidebars_by_activity"),
    "list_on": (
        lambda tx: store.sidebar_lists.list_sidebars(tx, EVERYTHING, (MOMENT, "sb7"), 50), "sidebars_by_activity",
    ),
    "list_of_session": (lambda tx: list_with(tx, session_id="s7"), "sidebars_by_session"),
    "list_of_status": (lambda tx: list_with(tx, status="archived"), "sidebars_by_status"),
    "list_of_parent": (lambda tx: list_with(tx, parent_id="sb7"), "sidebars_by_parent"),
    "list_of_agent": (lambda tx: list_with(tx, agent="agent7"), "sidebar_participants_by_agent"),
    "list_of_two": (lambda tx: list_with(tx, agent="agent7", other="agent20"), "sidebar_participants_by_agent"),
    "exchanges": (lambda tx: store.sidebar_exchanges.list_exchanges(tx, "sb1", 200), "sidebar_exchanges_pkey"),
    "exchanges_before": (
        lambda tx: store.sidebar_exchanges.list_exchanges(tx, "sb1", 200, 50_000), "sidebar_exchanges_pkey",
    ),
    "inherited": (lambda tx: store.sidebar_exchanges.list_inherited(tx, "sb5", 200), "sidebar_exchanges_pkey"),
    "inherited_memories": (lambda tx: store.sidebar_exchanges.list_memories(tx, "sb5", 200), "sidebars_pkey"),
    "references": (lambda tx: store.sidebar_exchanges.list_refs(tx, "sb5", 200), "sidebar_exchanges_pkey"),
    "history": (lambda tx: store.sidebars.list_transitions(tx, "sb7", 100), "sidebar_transitions_by_sidebar"),
    "capabilities": (lambda tx: store.sidebar_lists.list_capabilities(tx, "sb7"), "sidebar_participants_by_agent"),
    "contexts": (lambda tx: store.sidebar_lists.list_contexts(tx, ["agent7"]), "sessions_by_participant"),
}  # fmt: skip
WRITES = {
    "sessions": (lambda tx: store.sidebars.find_sessions(tx, ["sb7", "sb8"]), "sidebars_pkey"),
    "lock": (lambda tx: store.sidebars.lock_sidebars(tx, ["sb7", "sb8"]), "sidebars_pkey"),
    "save": (save, "sidebars_pkey"),
    "review": (lambda tx: store.sidebars.find_review(tx, "s1", "k4400"), "sidebars_reviews"),
    "memories": (lambda tx: store.sidebars.find_memories(tx, "s7", 200), "memories_by_session"),
    "memories_at": (
        lambda tx: store.sidebars.find_memories_at(tx, "s7", datetime.now(UTC), 200), "memories_(by_session|pkey)",
    ),
    "children": (lambda tx: store.sidebar_exchanges.child_results(tx, "sb7"), "sidebars_by_parent"),
    "open_children": (lambda tx: store.sidebar_exchanges.open_children(tx, "sb7", 20), "sidebars_by_parent"),
    "copy": (lambda tx: store.sidebar_exchanges.copy_exchanges(tx, "sb3", "sb4", 0), "sidebar_exchanges_pkey"),
    "idle": (lambda tx: store.sidebar_lists.find_idle(tx, 1, 200), "sidebars_idle"),
    "still_idle": (lambda tx: store.sidebar_lists.still_idle(tx, ["sb4"], 1), "sidebars_pkey"),
}  # fmt: skip


def read_through(plan):
    """What is read whole though it has rows, other than the registry of agents, which a handful of rows are."""
    seq_scans = [line for line in plan.splitlines() if "Seq Scan" in line and "rows=0" not in line]
    return [line for line in seq_scans if " on agents" not in line and " on tasks" not in line]


@pytest.fixture(scope="module")
def reading(full):
    """A worker that reads as queries do, by plans of their own."""
    reader = SessionWorker(full.url)
    reader.database = Database(full.url, name="reads", size=2, read_only=True)
    yield reader
    reader.close()


@pytest.mark.parametrize("name", READS)
def test_a_question_uses_its_index(reading, name):
    run, index = READS[name]
    plan = reading.plan(run)
    assert re.search(rf"using {index}|on {index}", plan), plan
    assert not read_through(plan), plan


@pytest.mark.parametrize("name", WRITES)
def test_a_write_uses_its_index(full, name):
    run, index = WRITES[name]
    plan = full.plan(run)
    assert re.search(rf"using {index}|on {index}", plan), plan
    assert not read_through(plan), plan


@pytest.mark.parametrize("name", ["exchanges", "exchanges_before", "inherited", "references"])
def test_the_end_of_a_long_conversation_is_read_without_its_beginning(reading, name):
    plan = reading.plan(READS[name][0])
    rows = [float(count) for count in re.findall(r"sidebar_exchanges.*?rows=([\d.]+)", plan)]
    assert rows
    assert max(rows) <= 201, plan


def test_what_is_written_is_found_again(full):
    async def write():
        async with full.database.transaction() as tx:
            await store.sidebar_exchanges.insert_exchanges(tx, [said(1), said(2)])
            update = SidebarStatusUpdate.model_construct(
                sidebar_id="sb2", old_status="active", new_status="failed", updated_by="ada", reason="r"
            )
            await store.sidebars.add_transitions(tx, [update], "m")
            return (
                await store.sidebar_exchanges.list_exchanges(tx, "sb2", 10),
                (await store.sidebars.list_transitions(tx, "sb2", 10))[-1].to_status,
            )

    assert full.run(write()) == ([said(1), said(2)], "failed")
