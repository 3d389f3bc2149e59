"""What busy policies, budgets and retention of chats need."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("alter table chat_usage add column refused boolean not null default false")


def downgrade() -> None:
    op.execute("alter table chat_usage drop column refused")
