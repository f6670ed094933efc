"""Which column types may be joined, whatever databases they belong to: `compatible`.

Types are spelled as in `Column.base`: PostgreSQL's as `format_type` does, those of MySQL and MariaDB with `mysql:` before them (see
`dialects/mysql_types.py`). Values travel in one text form per kind of value, so a pair is possible where the target's type reads the
form of the source's and means the same by it. Three answers follow from the promises:

* A pair that keeps every value is allowed.
* A pair that some values don't fit is allowed: the target refuses such a row loudly, with the task's position kept (P7).
* A pair that changes values without a word, or can't work at all, is refused, with the reason and a type that would do (P8).
"""

from __future__ import annotations

from headwater.domain import postgres_types
from headwater.domain.best_types import best
from headwater.domain.crossing import crossing
from headwater.domain.kinds import MYSQL, kind_of
from headwater.domain.postgres_types import INTEGERS, TEXTS, known, name_of

__all__ = ["INTEGERS", "TEXTS", "compatible", "fits", "known", "name_of"]


def compatible(source_type: str, target_type: str) -> str | None:
    """None where a column of `source_type` may fill one of `target_type`; otherwise the reason why not, as half a sentence."""
    if not source_type.startswith(MYSQL) and not target_type.startswith(MYSQL):
        return postgres_types.compatible(source_type, target_type)
    source, target = kind_of(source_type), kind_of(target_type)
    reason = crossing(source, target)
    if reason is None:
        return None
    better = best(source, "mysql" if target.mysql else "postgres")
    return f"{reason}; make it {better}"


def fits(source_type: str, target_type: str) -> bool:
    """Whether a column of `source_type` may fill one of `target_type`."""
    return compatible(source_type, target_type) is None
