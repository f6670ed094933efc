"""MariaDB 10.5 and later and MySQL 8.0 and later as a target: `LOAD DATA LOCAL` from memory into staging tables, and set-based statements,
with the task's checkpoint beside the rows.

`target.py` is the way in. What a write does is in `writer.py`, the copy in `chunks.py`, how values become those of a column in
`values.py`, what we keep at the target in `checkpoints.py`, and what has to be right before a task starts in `check.py`.
"""

from headwater.targets.mysql.target import MysqlTarget, open_target

__all__ = ["MysqlTarget", "open_target"]
