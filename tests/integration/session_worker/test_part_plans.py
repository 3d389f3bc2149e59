"""The statements of a session's parts find their rows by an index, however many there are."""

import re

import pytest
from psycopg.types.json import Json

from services.session_worker import store
from services.session_worker.actions import action_draft, response_draft
from shared.database import psycopg_of
from shared.messages import encode
from tests.integration.session_worker.conftest import SessionWorker

SESSIONS, EACH = 200, 100


@pytest.fixture(scope="module")
def full(module_worker: SessionWorker) -> SessionWorker:
    """Many sessions with many parts each."""
    module_worker.sql(
        "insert into sessions (id, last_activity) select 's' || n, now() - n * interval '1 second'"
        " from generate_series(1, :sessions) n",
        sessions=SESSIONS,
    )
    parts = "from generate_series(1, :sessions) s, generate_series(1, :each) n"
    columns = {
        "actions": "session_id, action_id, number, type, details, author, message_id)"
        " select 's' || s, n, n, '', '{}', '', ''",
        "responses": "session_id, response_id, number, type, content, details, author, message_id)"
        " select 's' || s, n, 100 + n, '', '1', '{}', '', ''",
        "session_goals": "session_id, goal_id, description, status, priority, metadata)"
        " select 's' || s, n, '', 'pending', 'low', '{}'",
        "session_agents": "session_id, agent_id, type, metadata, result, spawned_by)"
        " select 's' || s, n, '', '{}', '1', ''",
        "artifacts": "session_id, artifact_id, name, type, content, metadata, author, message_id)"
        " select 's' || s, n, '', '', 'c', '{}', '', ''",
    }
    for table, rest in columns.items():
        module_worker.sql(f"insert into {table} ({rest} {parts}", sessions=SESSIONS, each=EACH)
        module_worker.sql(f"analyze {table}")
    module_worker.sql("insert into session_states (session_id, version) select id, 1 from sessions")
    for table in ("sessions", "session_states"):
        module_worker.sql(f"analyze {table}")
    return module_worker


def explained(worker: SessionWorker, statement: str, parameter: object) -> str:
    """The plan of a statement that goes to the driver itself."""

    async def explain() -> str:
        async with worker.database.transaction() as tx:
            connection = await psycopg_of(tx)
            cursor = await connection.execute(f"explain {statement}", [parameter], prepare=False)
            return "\n".join(row[0] for row in await cursor.fetchall())

    return worker.run(explain())


def test_a_state_is_read_by_primary_keys_alone(full):
    plan = explained(full, store.states._FIND, "s77")
    for table in ("sessions", "session_states", "session_goals", "session_agents"):
        assert re.search(rf"(using|on) {table}_pkey", plan), plan
    assert "Seq Scan" not in plan


@pytest.mark.parametrize("kind", ["action", "response"])
def test_the_next_number_and_a_free_id_are_found_by_indexes(full, kind):
    name, draft = {"action": ("log_action", action_draft), "response": ("log_response", response_draft)}[kind]
    commands = [full.command(name, {"session_id": f"s{n}", "type": "t"}) for n in range(1, 51)]
    rows = Json(encode([draft(at, command) for at, command in enumerate(commands)]), dumps=lambda text: text)
    plan = explained(full, store.actions._INSERTS[kind], rows)
    assert "Index Only Scan Backward using actions_by_number" in plan
    assert "Index Only Scan Backward using responses_by_number" in plan
    assert f"using {kind}s_pkey" in plan
    assert "Seq Scan" not in plan


STATEMENTS = {
    "actions": (lambda tx: store.actions.list_page(tx, "s77", "action", 40, 51), ["actions_by_number"]),
    "responses": (lambda tx: store.actions.list_page(tx, "s77", "response", 140, 51), ["responses_by_number"]),
    "both": (lambda tx: store.actions.list_page(tx, "s77", None, 40, 51), ["actions_by_number", "responses_by_number"]),
    "goal": (lambda tx: store.goals.find_goal(tx, "s77", "7"), ["session_goals_pkey"]),
    "agent": (lambda tx: store.agents.find_agent(tx, "s77", "7"), ["session_agents_pkey"]),
    "artifact": (lambda tx: store.artifacts.find_artifact(tx, "s77", "7"), ["sessions_pkey", "artifacts_pkey"]),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_uses_its_index(full, name):
    run, indexes = STATEMENTS[name]
    plan = full.plan(run)
    for index in indexes:
        assert f"using {index}" in plan or f"on {index}" in plan, plan
    assert "Seq Scan" not in plan
