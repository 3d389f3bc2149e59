"""The statements of mentions and of tokens find their rows by an index, however many wait."""

import re
from datetime import timedelta

import pytest

from services.session_worker import store

WEEK = timedelta(days=7)


@pytest.fixture(scope="module")
def full(module_worker):
    """Mentions of 200 agents, of which one has more than it may, and connections that were resumed."""
    module_worker.sql("""
        insert into mentions (
            mention_id, agent_id, author, message, target_agents, context_refs, priority, hops, trust, created
        )
        select 'm' || n, case when n % 10 = 0 then 'busy' else 'a' || n % 200 end, 'x', 'x', '{}', '{}', 'normal', 0,
            'trusted', now() - n * interval '30 seconds'
        from generate_series(1, 30000) as n
    """)
    module_worker.sql("""
        insert into resumed_connections (connection_id, agent_id, resumed_as, at)
        select 'c' || n, 'a', 'b', now() - n * interval '30 seconds' from generate_series(1, 30000) as n
    """)
    for table in ("mentions", "resumed_connections"):
        module_worker.sql(f"analyze {table}")
    return module_worker


STATEMENTS = {
    "list_mentions": (lambda tx: store.mentions.list_mentions(tx, "busy", 100, None), "mentions_of_agent"),
    "list_mentions_on": (lambda tx: store.mentions.list_mentions(tx, "busy", 100, "m770"), "mentions_of_agent"),
    "drop_oldest": (lambda tx: store.mentions.drop_oldest(tx, ["busy", "a7"], 1000), "mentions_of_agent"),
    "delete_mentions": (lambda tx: store.mentions.delete_mentions(tx, ["m1", "m2"]), "mentions_pkey"),
    "expire_mentions": (lambda tx: store.mentions.expire(tx, WEEK, 100), "mentions_by_age"),
    "expire_resumed": (
        lambda tx: store.live.expire(tx, "resumed_connections", WEEK, 100), "resumed_connections_by_age",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_of_the_live_layer_uses_its_index(full, name):
    run, index = STATEMENTS[name]
    plan = full.plan(run)
    assert re.search(rf"using {index}|on {index}", plan), plan
    assert "Seq Scan" not in plan, plan
