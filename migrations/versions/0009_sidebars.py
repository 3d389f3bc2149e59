"""Sidebars, who takes part in them, and what is said there.

What each table and index is for stands beside its declaration in shared/database/tables.
"""

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
