"""Sessions with MySQL and MariaDB, alike for sources and targets: what values mean is pinned, whatever server, database and account say.

A session that differs changes values (P8): its time zone those of TIMESTAMP, its character set texts, its `sql_mode` what is refused and
what is bent. Limits that would end a long copy are lifted. The server is never let at files of ours: it may ask for one by name in
answer to any statement (`LOAD DATA LOCAL`), and what is sent then is rows that we hold, never a file.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pymysql.connections import Connection as Driver
from pymysql.constants import CLIENT
from pymysql.err import OperationalError

from headwater.dialects.mysql_errors import NoSuchServer, greeted

STREAM_TIMEOUT_S = 3600
"""How long the server lets us be slow within one statement's rows, in either direction; our stall detector is quicker."""

IDLE_TIMEOUT_S = 7 * 86_400
"""How long the server keeps a session that says nothing; those of a task may wait for days for a change."""

SETTINGS: Mapping[str, str] = {
    "time_zone": "'+00:00'",
    "character_set_results": "utf8mb4",
    "net_write_timeout": str(STREAM_TIMEOUT_S),
    "net_read_timeout": str(STREAM_TIMEOUT_S),
    "wait_timeout": str(IDLE_TIMEOUT_S),
    "sql_select_limit": str(2**64 - 1),
    "sql_safe_updates": "0",
    "sql_auto_is_null": "0",
    "completion_type": "0",
}
"""Session variables of every session of ours. `sql_mode`, isolation and lock waits are the role's to choose."""

SETTINGS_MARIADB: Mapping[str, str] = {"max_statement_time": "0", "idle_transaction_timeout": "0"}
SETTINGS_MYSQL: Mapping[str, str] = {"max_execution_time": "0"}

READING_MODE = "NO_ENGINE_SUBSTITUTION"
"""`sql_mode` of a session that reads: nothing that pads, quotes or refuses. Zero dates are read as they are."""

WRITING_MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO,ERROR_FOR_DIVISION_BY_ZERO"
"""`sql_mode` of a session that writes: what does not fit is refused, and a 0 for an AUTO_INCREMENT column is a 0."""

_VERSION = re.compile(r"(?:5\.5\.5-)?(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class Server:
    """Where a database is and how to get in. `tls`: refuse a connection that is not encrypted; otherwise it is where the server can.

    `host` may be the path of a Unix socket. `ca` is a file with the certificate that proves the server, which is demanded then."""

    host: str
    port: int
    database: str
    user: str
    password: str = field(repr=False)
    tls: bool = False
    connect_timeout_s: int = 10
    ca: str = ""

    @property
    def place(self) -> str:
        """The server in words, for messages."""
        return self.host if self.host.startswith("/") else f"{self.host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.place}/{self.database}"


class Session(Driver):
    """A connection that knows whom it talks to."""

    server_version: str  # what follows is missing in the driver's stubs
    server_thread_id: tuple[int]
    _sock: socket.socket | None
    _result: Any
    _next_seq_id: int
    _force_close: Callable[[], None]
    _execute_command: Callable[[int, bytes], None]
    _read_timeout: float | None

    @property
    def mariadb(self) -> bool:
        """Whether it is MariaDB, by its greeting; otherwise MySQL, or what says that it is."""
        return "mariadb" in self.server_version.lower()

    @property
    def version(self) -> tuple[int, int, int]:
        """The server's version; MariaDB may greet with `5.5.5-` before it. (0, 0, 0) where it does not tell."""
        found = _VERSION.match(self.server_version)
        return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)

    @property
    def server_name(self) -> str:
        """What the server is, for messages: `MariaDB 10.11.19`."""
        return f"{'MariaDB' if self.mariadb else 'MySQL'} {'.'.join(map(str, self.version))}"

    def _create_ssl_ctx(self, sslp: object) -> ssl.SSLContext:
        """Where nothing is demanded, the driver would first read all certificates that the machine trusts, which takes long."""
        return sslp if isinstance(sslp, ssl.SSLContext) else _encrypted("")

    def since(self, mariadb: tuple[int, ...] | None, mysql: tuple[int, ...] | None) -> bool:
        """True from these versions on; None where that kind of server never has it."""
        wanted = mariadb if self.mariadb else mysql
        return wanted is not None and self.version >= wanted


Made = TypeVar("Made", bound=Session)


def connect(kind: type[Made], server: Server, sql_mode: str, settings: Mapping[str, str], **more: Any) -> Made:
    """Open a session with everything pinned, `settings` (SQL literals by variable) on top. `more` goes to the driver.

    Errors of the driver pass through; NoSuchServer where no MySQL or MariaDB answers, or TLS can't be agreed upon.
    The session is in the driver's default of no autocommit, unless `more` says otherwise."""
    more["client_flag"] = more.get("client_flag", 0) | CLIENT.LOCAL_FILES
    session = _login(kind, server, more)
    try:
        _keep_alive(session)
        own = SETTINGS_MARIADB if session.mariadb else SETTINGS_MYSQL
        pinned = {**SETTINGS, **own, "sql_mode": f"'{sql_mode}'", **settings}
        session.query("SET " + ", ".join(f"SESSION {name} = {value}" for name, value in pinned.items()))
        session.commit()
    except BaseException:
        session._force_close()
        raise
    return session


def _login(kind: type[Made], server: Server, more: Mapping[str, Any]) -> Made:
    try:
        return _open(kind, server, {"ssl": _encrypted(server.ca) if server.tls or server.ca else None, **more})
    except OperationalError as error:
        cause = getattr(error, "original_exception", None)
        if not isinstance(cause, ssl.SSLError):
            raise
        if server.tls or server.ca:
            raise NoSuchServer(f"TLS could not be agreed upon with {server.place}: {cause.reason or cause}.") from error
        return _open(kind, server, {"ssl_disabled": True, **more})  # nobody has demanded it, and what this server offers we can't take


def _open(kind: type[Made], server: Server, more: Mapping[str, Any]) -> Made:
    """Until it is open each answer has to come within the time limit; afterwards a statement may take as long as it takes."""
    with greeted(server.place, server.connect_timeout_s):
        session = kind(
            host=server.host,
            port=server.port,
            unix_socket=server.host if server.host.startswith("/") else None,
            user=server.user,
            password=server.password.encode(),  # the driver itself would encode it as latin1
            database=server.database or None,
            charset="utf8mb4",
            connect_timeout=server.connect_timeout_s,
            program_name="headwater",
            **{"read_timeout": server.connect_timeout_s, **more},
        )
    session._read_timeout = more.get("read_timeout")
    return session


def quote(*names: str) -> str:
    """An identifier, qualified where there are several names."""
    return ".".join("`" + name.replace("`", "``") + "`" for name in names)


def cut(session: Session) -> None:
    """Break the connection under a call that waits for it (any thread)."""
    sock = session._sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _encrypted(ca: str) -> ssl.SSLContext:
    """Encryption, without a look at the server's certificate, which servers make for themselves, unless `ca` is there to prove it."""
    if ca:
        return ssl.create_default_context(cafile=ca)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _keep_alive(session: Session) -> None:
    """A peer that has gone without a word is noticed within half a minute."""
    sock = session._sock
    if sock is None or sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", 30_000)):
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
