"""PostgreSQL 12 and later as a target: bulk writes by COPY and set-based statements, with the task's checkpoint beside the rows.

`target.py` is the way in. What a write does is in `writer.py`, the copy in `chunks.py`, what we keep at the target in
`checkpoints.py`, and what has to be right before a task starts in `check.py`.
"""

from headwater.targets.postgres.config import PostgresTargetConfig
from headwater.targets.postgres.target import PostgresTarget, open_target

__all__ = ["PostgresTarget", "PostgresTargetConfig", "open_target"]
