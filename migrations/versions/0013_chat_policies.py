"""What busy policies, budgets and retention of chats need."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table chat_usage add column refused boolean not null default false")
    op.execute("create index chat_posts_of_turn on chat_posts (turn_id)")


def downgrade() -> None:
    op.execute("drop index chat_posts_of_turn")
    op.execute("alter table chat_usage drop column refused")
