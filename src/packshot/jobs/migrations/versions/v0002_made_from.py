"""What a picture that no job made was made from, so that an erasure finds it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the table."""
    op.create_table(
        "made",
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "sha256", "source", name=op.f("pk_made")),
    )
    op.create_index(op.f("ix_made_source"), "made", ["source"], unique=False)


def downgrade() -> None:
    """Removes it."""
    op.drop_index(op.f("ix_made_source"), table_name="made")
    op.drop_table("made")
