"""Agents' runs, their output, and what is found in it.

What each table and index is for stands beside its declaration in shared/database/tables.
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table agent_runs (
            run_id           text primary key,
            name             text not null,
            agent_name       text not null,
            session_id       text not null references sessions (id) on delete cascade,
            task_id          text,
            attempt          integer,
            worker_id        text,
            command          text not null,
            recipe           text,
            state            text not null constraint agent_runs_state check (
                state in (
                    'starting', 'running', 'paused', 'waiting_input', 'completed', 'failed', 'killed', 'lost'
                )
            ),
            cause            text,
            pid              integer,
            exit_code        bigint,
            signal           text,
            lines            bigint not null default 0,
            bytes            bigint not null default 0,
            lines_given      bigint,
            input_tokens     bigint not null default 0,
            output_tokens    bigint not null default 0,
            cost_usd         double precision not null default 0,
            result           json,
            error            text,
            started          timestamptz not null default now(),
            heard            timestamptz not null default now(),
            ended            timestamptz,
            paced_until      timestamptz not null default now(),
            masking_state    json
        ) with (fillfactor = 70)
    """)
    op.execute("create index agent_runs_newest on agent_runs (started desc, run_id desc)")
    for name, column in (("agent", "agent_name"), ("session", "session_id"), ("state", "state")):
        op.execute(f"create index agent_runs_by_{name} on agent_runs ({column}, started desc, run_id desc)")
    op.execute("""
        create index agent_runs_by_task on agent_runs (task_id, started desc, run_id desc)
        where task_id is not null
    """)
    op.execute("""
        create index agent_runs_live on agent_runs (agent_name)
        where state in ('starting', 'running', 'paused', 'waiting_input')
    """)
    op.execute("""
        create table agent_run_states (
            run_id      text not null references agent_runs (run_id) on delete cascade,
            number      integer not null,
            was         text,
            state       text not null,
            cause       text,
            reported_by text not null,
            at          timestamptz not null default now(),
            primary key (run_id, number)
        )
    """)
    op.execute("""
        create table agent_output (
            run_id   text not null,
            number   bigint not null,
            stream   text not null,
            text     text not null,
            encoding text,
            partial  boolean not null,
            at       timestamptz,
            stored   timestamptz not null default now(),
            primary key (run_id, number)
        )
    """)
    op.execute("create index agent_output_stored on agent_output using brin (stored) with (autosummarize = on)")
    op.execute("""
        create table extraction_states (
            run_id    text primary key references agent_runs (run_id) on delete cascade,
            extracted bigint not null default 0,
            state     json,
            since     timestamptz,
            lease     timestamptz
        ) with (fillfactor = 70)
    """)
    op.execute("create index extraction_states_waiting on extraction_states (since) where since is not null")
    op.execute("""
        create table agent_controls (
            control_id text primary key,
            run_id     text not null references agent_runs (run_id) on delete cascade,
            action     text not null,
            asked_by   text not null,
            result     json,
            error      text,
            asked      timestamptz not null default now(),
            answered   timestamptz
        )
    """)
    op.execute("create index agent_controls_of_run on agent_controls (run_id, asked desc)")
    op.execute("""
        create table extractions (
            extraction_id bigint primary key generated always as identity,
            run_id        text not null references agent_runs (run_id) on delete cascade,
            session_id    text not null,
            agent_name    text not null,
            task_id       text,
            type          text not null,
            pattern       text not null,
            risk          text not null constraint extractions_risk check (
                risk in ('low', 'medium', 'high', 'critical')
            ),
            auto_confirm  boolean not null default false,
            text          text not null,
            data          json not null,
            stream        text not null,
            first_line    bigint not null,
            last_line     bigint not null,
            place         integer not null default 0,
            sha256        text,
            at            timestamptz,
            created       timestamptz not null default now()
        )
    """)
    op.execute("create index extractions_newest on extractions (created desc, extraction_id desc)")
    for name, column in (
        ("run", "run_id"),
        ("session", "session_id"),
        ("agent", "agent_name"),
        ("pattern", "pattern"),
        ("type", "type"),
        ("risk", "risk"),
    ):
        op.execute(f"create index extractions_by_{name} on extractions ({column}, created desc, extraction_id desc)")
    op.execute("""
        create table extraction_counts (
            agent_name text not null,
            day        date not null,
            type       text not null,
            risk       text not null,
            found      bigint not null,
            primary key (agent_name, day, type, risk)
        )
    """)
    op.execute("""
        create table code_blocks (
            sha256       text primary key,
            language     text,
            content      text not null,
            seen         bigint not null default 1,
            first_run_id text not null,
            first_line   bigint not null,
            first_seen   timestamptz not null default now(),
            last_run_id  text not null,
            last_line    bigint not null,
            last_seen    timestamptz not null default now()
        )
    """)
    op.execute("create index code_blocks_last_seen on code_blocks (last_seen)")


def downgrade() -> None:
    for table in (
        "code_blocks",
        "extraction_counts",
        "extractions",
        "agent_controls",
        "extraction_states",
        "agent_output",
        "agent_run_states",
        "agent_runs",
    ):
        op.execute(f"drop table {table}")
