"""What the live layer keeps: mentions, resumed connections, revoked tokens.

What each table and index is for stands beside its declaration in shared/database/tables.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table mentions (
            mention_id    text primary key,
            number        bigint not null generated always as identity,
            agent_id      text not null,
            author        text not null,
            message       text not null,
            target_agents text[] not null,
            context_refs  text[] not null,
            session_id    text,
            sidebar_id    text,
            priority      text not null,
            hops          integer not null,
            trust         text not null,
            created       timestamptz not null default now()
        )
    """)
    op.execute("create index mentions_of_agent on mentions (agent_id, number)")
    op.execute("create index mentions_by_age on mentions (created)")
    op.execute("""
        create table resumed_connections (
            connection_id text primary key,
            agent_id      text not null,
            resumed_as    text not null,
            at            timestamptz not null default now()
        )
    """)
    op.execute("create index resumed_connections_by_age on resumed_connections (at)")
    op.execute("""
        create table revoked_tokens (
            kind       text not null check (kind in ('token', 'agent')),
            id         text not null,
            made_until timestamptz not null,
            revoked_by text not null,
            reason     text,
            primary key (kind, id)
        )
    """)


def downgrade() -> None:
    op.execute("drop table revoked_tokens")
    op.execute("drop table resumed_connections")
    op.execute("drop table mentions")
