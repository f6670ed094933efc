"""PostgreSQL 12 and later as a source: its log through `pgoutput`, and snapshots for the first copy.

`connect` and `catalogue` ask, `publication` and `slot` make and judge what capture needs, `reader` and `capture` follow the log,
`frames` turns what the decoder gathered into the columnar form, `snapshot` copies, `source` is the door.
"""

from headwater.sources.postgres.config import PostgresConfig
from headwater.sources.postgres.source import PostgresSource, open_source

__all__ = ["PostgresConfig", "PostgresSource", "open_source"]
