"""What the live layer keeps: mentions, resumed connections, revoked tokens.

What each table and index is for stands beside its declaration in shared/database/tables.
"""

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
