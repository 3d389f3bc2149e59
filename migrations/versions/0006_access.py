"""Keys, limits and the audit log.

What each table and index is for stands beside its declaration in shared/database/tables.
"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table audit (
            at         timestamptz not null default now(),
            id         bigint generated always as identity,
            key        text not null,
            agent_id   text not null,
            command    text not null,
            message_id text not null,
            session_id text,
            target     text,
            outcome    text not null,
            primary key (at, id)
        );
        create index audit_of_key on audit (key, at, id);
        create index audit_of_command on audit (command, at, id);
        create index audit_of_session on audit (session_id, at, id) where session_id is not null;

        alter table handled_messages add column caller text;
    """)


def downgrade() -> None:
    op.execute("""
        alter table handled_messages drop column caller;
        drop table audit;
    """)
