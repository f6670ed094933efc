"""How to reach one PostgreSQL source, and the names of what we make there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(frozen=True)
class PostgresConfig:
    """One saved connection. `source_id` is the data source's id, from which slot and publication have their name.

    `sslmode` and `sslrootcert` are libpq's; `prefer` encrypts where the server can. `host` may be a directory with a Unix socket.
    """

    source_id: str
    host: str
    database: str
    user: str
    port: int = 5432
    password: str = field(default="", repr=False)
    sslmode: str = "prefer"
    sslrootcert: str = ""
    connect_timeout_s: int = 10

    @property
    def slot(self) -> str:
        """Name of the replication slot: `headwater_` and 12 hexadecimal digits that stand for the id."""
        return "headwater_" + hashlib.sha256(self.source_id.encode()).hexdigest()[:12]

    @property
    def publication(self) -> str:
        """Name of the publication, the same as the slot's."""
        return self.slot

    @property
    def place(self) -> str:
        """The database in words, for messages."""
        return f"{self.database} at {self.host}:{self.port}"
