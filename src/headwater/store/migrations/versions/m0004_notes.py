"""What the check before a start found that does not keep a task from running."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Add the columns; of starts that are past nothing is known."""
    op.add_column("tasks", sa.Column("notes", sa.JSON(), nullable=True))
    op.add_column("runs", sa.Column("notes", sa.JSON(), nullable=True))
