"""Sidebars, who takes part in them, and what is said there; and in which sessions an agent takes part.

What each table and index is for stands beside its declaration in shared/database/tables.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table sidebars (
            id               text primary key,
            session_id       text not null references sessions (id) on delete cascade,
            parent_id        text references sidebars (id) on delete cascade,
            forked_from      text,
            inherits_seq     integer not null default 0,
            inherit_depth    integer not null,
            lineage          integer not null default 0,
            memory_refs      json not null,
            coordinator      text,
            requested_by     text not null,
            task_description text not null,
            success_criteria text,
            status           text not null default 'active',
            priority         text not null,
            reason           text,
            data_refs        json not null,
            waiting_for      text,
            review_of        text,
            exchange_count   integer not null default 0,
            findings         json,
            success          boolean,
            created          timestamptz not null default now(),
            last_activity    timestamptz not null default now(),
            closed           timestamptz,
            constraint sidebars_status check (status in ('active', 'testing', 'paused', 'waiting', 'reviewing',
                'spawning_child', 'consolidating', 'merged', 'archived', 'failed')),
            constraint sidebars_closed check ((closed is not null) = (status in ('merged', 'archived', 'failed')))
        ) with (fillfactor = 60)
    """)
    op.execute("create index sidebars_by_activity on sidebars (last_activity desc, id desc)")
    op.execute("create index sidebars_by_session on sidebars (session_id, last_activity desc, id desc)")
    op.execute("create index sidebars_by_status on sidebars (status, last_activity desc, id desc)")
    op.execute("create index sidebars_by_parent on sidebars (parent_id, created desc) where parent_id is not null")
    op.execute("create index sidebars_idle on sidebars (last_activity) where closed is null")
    op.execute("create index sidebars_by_created on sidebars (created)")
    op.execute("create index sidebars_by_closed on sidebars (closed) where closed is not null")
    op.execute("""
        create unique index sidebars_reviews on sidebars (session_id, review_of)
            where review_of is not null and closed is null
    """)
    op.execute("""
        create table sidebar_participants (
            sidebar_id text not null references sidebars (id) on delete cascade,
            agent_id   text not null,
            position   integer not null,
            standing   text not null default 'open',
            since      timestamptz not null default now(),
            primary key (sidebar_id, agent_id),
            constraint sidebar_participants_standing check (standing in ('open', 'merged', 'ended'))
        )
    """)
    op.execute("""
        create index sidebar_participants_by_agent on sidebar_participants (agent_id, standing, since desc, sidebar_id)
    """)
    op.execute("""
        create table sidebar_exchanges (
            sidebar_id        text not null references sidebars (id) on delete cascade,
            seq               integer not null,
            exchange_id       text not null,
            kind              text not null,
            author            text not null,
            text              text not null,
            data_refs         json not null,
            mentions          text[] not null default '{}',
            origin_sidebar_id text,
            message_id        text not null,
            created           timestamptz not null default now(),
            primary key (sidebar_id, seq),
            constraint sidebar_exchanges_kind check (kind in ('post', 'test_result', 'waiting', 'merge'))
        )
    """)
    op.execute("""
        create table sidebar_transitions (
            id          bigint generated always as identity primary key,
            sidebar_id  text not null references sidebars (id) on delete cascade,
            from_status text,
            to_status   text not null,
            by_agent    text not null,
            reason      text,
            message_id  text not null,
            at          timestamptz not null default now()
        )
    """)
    op.execute("create index sidebar_transitions_by_sidebar on sidebar_transitions (sidebar_id, id)")
    op.execute("""
        create table sidebar_links (
            sidebar_id text not null references sidebars (id) on delete cascade,
            linked_id  text not null references sidebars (id) on delete cascade,
            created    timestamptz not null default now(),
            primary key (sidebar_id, linked_id)
        )
    """)
    op.execute("create index sidebar_links_newest on sidebar_links (sidebar_id, created desc, linked_id)")
    op.execute("create index sidebar_links_by_linked on sidebar_links (linked_id)")
    op.execute("""
        create index sessions_by_participant on sessions using gin (participants jsonb_path_ops)
            where status in ('active', 'paused') and participants <> '[]'
    """)
    op.execute("create index session_agents_by_agent on session_agents (agent_id) where status = 'active'")


def downgrade() -> None:
    op.execute("drop index session_agents_by_agent, sessions_by_participant")
    op.execute("drop table sidebar_links, sidebar_transitions, sidebar_exchanges, sidebar_participants, sidebars")
