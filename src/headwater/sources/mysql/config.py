"""How to reach one MySQL or MariaDB source, and as which replica we register there."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from headwater.dialects.mysql_session import Server

SERVER_ID_FROM = 1 << 30
"""Server ids that we choose lie from here up to twice this: far from what people number their servers with."""


@dataclass(frozen=True)
class MysqlConfig:
    """One saved connection. `source_id` is the data source's id.

    `server_id` is the one to register with as a replica, None to have one chosen. `tls` demands encryption, without it the session
    encrypts where the server can; `ca` is a file that proves the server. `host` may be the path of a Unix socket.
    """

    source_id: str
    host: str
    database: str
    user: str
    port: int = 3306
    password: str = field(default="", repr=False)
    tls: bool = False
    ca: str = ""
    server_id: int | None = None
    connect_timeout_s: int = 10

    @property
    def replica_id(self) -> int:
        """The server id that we register with: the given one, or one that stands for the data source's id."""
        if self.server_id is not None:
            return self.server_id
        return SERVER_ID_FROM + int.from_bytes(hashlib.sha256(self.source_id.encode()).digest()[:4], "big") % SERVER_ID_FROM

    @property
    def server(self) -> Server:
        """Where and as whom to log in. Sessions have no default database: statements name it."""
        return Server(self.host, self.port, "", self.user, self.password, self.tls, self.connect_timeout_s, self.ca)

    @property
    def place(self) -> str:
        """The database in words, for messages."""
        return f"{self.database} at {self.server.place}"
