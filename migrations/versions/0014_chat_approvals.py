"""What tools and approvals of bots need: whether a conversation is trusted, and what a parked turn has said so far.

What each column and index is for stands beside its declaration in shared/database/tables.
"""

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table chats add column untrusted boolean not null default false, add column parked_turn text")
    op.execute("alter table chat_transcripts add column turn_id text")
    op.execute("alter table chat_approvals add column calls json")
    op.execute("create index chat_approvals_of_chat on chat_approvals (room_id, bot_id, created desc)")
    op.execute("create index chat_approvals_of_turn on chat_approvals (turn_id, created desc)")


def downgrade() -> None:
    op.execute("drop index chat_approvals_of_turn")
    op.execute("drop index chat_approvals_of_chat")
    op.execute("alter table chat_approvals drop column calls")
    op.execute("alter table chat_transcripts drop column turn_id")
    op.execute("alter table chats drop column untrusted, drop column parked_turn")
