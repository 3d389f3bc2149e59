"""Actions, responses, state, goals and spawned agents of sessions, and who made an artifact.

What each table and index is for stands beside its declaration in shared/database/tables.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        alter table sessions
            add column action_count integer not null default 0,
            add column response_count integer not null default 0
    """)
    # No command has written artifacts before, but a row put there by hand keeps its place.
    op.execute("""
        alter table artifacts
            add column author text not null default 'anonymous',
            add column message_id text not null default '';
        alter table artifacts
            alter column author drop default,
            alter column message_id drop default;
    """)
    log()
    state()


def log() -> None:
    op.execute("""
        create table actions (
            session_id  text not null references sessions (id) on delete cascade,
            action_id   text not null,
            number      bigint not null,
            type        text not null,
            details     json not null,
            timestamp   timestamptz not null default now(),
            agent_id    text,
            author      text not null,
            message_id  text not null,
            created     timestamptz not null default now(),
            primary key (session_id, action_id)
        );
        create unique index actions_by_number on actions (session_id, number);

        create table responses (
            session_id  text not null references sessions (id) on delete cascade,
            response_id text not null,
            number      bigint not null,
            action_id   text,
            type        text not null,
            content     json not null,
            details     json not null,
            timestamp   timestamptz not null default now(),
            agent_id    text,
            author      text not null,
            message_id  text not null,
            created     timestamptz not null default now(),
            primary key (session_id, response_id)
        );
        create unique index responses_by_number on responses (session_id, number);
    """)


def state() -> None:
    op.execute("""
        create table session_states (
            session_id text primary key references sessions (id) on delete cascade,
            members    json,
            version    integer not null,
            parts_size integer not null default 0,
            updated    timestamptz not null default now()
        ) with (fillfactor = 70);

        create table session_goals (
            session_id  text not null references sessions (id) on delete cascade,
            goal_id     text not null,
            description text not null,
            status      text not null,
            priority    text not null,
            metadata    json not null,
            created     timestamptz not null default now(),
            updated     timestamptz not null default now(),
            primary key (session_id, goal_id),
            constraint session_goals_status
                check (status in ('pending', 'in_progress', 'completed', 'blocked', 'abandoned')),
            constraint session_goals_priority check (priority in ('low', 'medium', 'high', 'critical'))
        );

        create table session_agents (
            session_id  text not null references sessions (id) on delete cascade,
            agent_id    text not null,
            type        text not null,
            description text,
            status      text not null default 'active',
            metadata    json not null,
            result      json not null,
            spawned_by  text not null,
            created     timestamptz not null default now(),
            completed   timestamptz,
            primary key (session_id, agent_id),
            constraint session_agents_status check (status in ('active', 'completed', 'failed'))
        );
    """)


def downgrade() -> None:
    op.execute("drop table session_agents, session_goals, session_states, responses, actions")
    op.execute("alter table artifacts drop column author, drop column message_id")
    op.execute("alter table sessions drop column action_count, drop column response_count")
