"""Commands whose events nobody would ask for again: a table of their ids.

What it is for stands beside its declaration in shared/database/tables.
"""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table unconfirmed_messages (
            message_id text primary key,
            at         timestamptz not null default now()
        )
    """)


def downgrade() -> None:
    op.execute("drop table unconfirmed_messages")
