"""What others were told of each agent that is there.

What the table is for stands beside its declaration in shared/database/tables.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create table presences (
            agent_id text primary key,
            cursor   bigint not null,
            body     json not null
        )
    """)


def downgrade() -> None:
    op.execute("drop table presences")
