"""What search, timeline and statistics need: indexes.

What each is for stands beside its declaration in shared/database/tables.
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        create index conversation_chunks_newest on conversation_chunks (created desc);
        create index artifacts_newest on artifacts (created desc);

        create index sessions_by_created on sessions (created) include (status);
        create index session_transitions_ended on session_transitions (session_id) include (at)
            where to_status in ('completed', 'failed');
        create index actions_by_created on actions (created);
    """)


def downgrade() -> None:
    op.execute("""
        drop index actions_by_created, session_transitions_ended, sessions_by_created, artifacts_newest,
            conversation_chunks_newest
    """)
