"""What a task does with rows that its target refuses."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; tasks that are there stop at the first refused row, as before."""
    op.add_column("tasks", sa.Column("dirty_rows_max", sa.Integer(), nullable=True))
    op.add_column("tasks", sa.Column("dirty_per_minute_max", sa.Integer(), nullable=True))
