"""Where a PostgreSQL target is and how to get in; apart from everything else so that the composition root can make it cheaply."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PostgresTargetConfig:
    """One database of a server. `sslmode` is libpq's."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    sslmode: str = "prefer"
    connect_timeout_s: int = 10

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"
