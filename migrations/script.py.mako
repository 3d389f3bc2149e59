"""${message}."""

from alembic import op

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("""
        ${upgrades if upgrades else ""}
    """)


def downgrade() -> None:
    op.execute("""
        ${downgrades if downgrades else ""}
    """)
