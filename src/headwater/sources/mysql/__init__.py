"""MariaDB 10.5 and later and MySQL 5.7 and later as a source: the binlog, and snapshots for the first copy.

`connect` and `catalogue` ask, `positions` and `lineage` tell places in logs and whose they are, `readiness` says what is missing,
`snapshot` copies, `ddl` reads what statements of the log do to tables, `source` is the door.
"""

from headwater.sources.mysql.config import MysqlConfig
from headwater.sources.mysql.source import MysqlSource, open_source

__all__ = ["MysqlConfig", "MysqlSource", "open_source"]
