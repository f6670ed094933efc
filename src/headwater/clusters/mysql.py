"""Private servers of MariaDB and MySQL.

They listen on 127.0.0.1 alone (no socket file: its path must be short, and directories may be deep), write a row-based binary log with
all metadata, and read no configuration file of the machine.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pymysql

from headwater.clusters.mysql_installations import MysqlInstallation, find_mariadb, find_mysql
from headwater.clusters.server import UNPRIVILEGED, ClusterError, PrivateServer, StopMode

SETTINGS = {
    "log_bin": "binlog",
    "binlog_row_metadata": "FULL",
    "character_set_server": "utf8mb4",
    "max_connections": "200",
    "skip_name_resolve": "ON",
}
"""What every private server gets; the caller's settings win. Durability stays as the server has it by default."""

MARIADB_ACCOUNTS = """\
FLUSH PRIVILEGES;
CREATE OR REPLACE USER root@'{host}' IDENTIFIED BY '{password}';
GRANT ALL ON *.* TO root@'{host}' WITH GRANT OPTION;
DELETE FROM mysql.global_priv WHERE user = 'root' AND host <> '{host}';
DELETE FROM mysql.proxies_priv;
"""
MYSQL_ACCOUNTS = """\
ALTER USER root@localhost IDENTIFIED BY '{password}';
RENAME USER root@localhost TO root@'{host}';
"""
"""Statements, one per line, that leave `root` from our address with our password and no other administrator."""


class MysqlServer(PrivateServer):
    """One private server of either flavour; see `PrivateServer`. Its only account is `root`, from 127.0.0.1.

    `fsync` off is quick and survives `kill`, but not a crash of the machine. `settings` are options of the server, as `SET GLOBAL`
    would spell them.
    """

    signals: ClassVar[Mapping[StopMode, signal.Signals]] = {
        "smart": signal.SIGTERM,
        "fast": signal.SIGTERM,
        "immediate": signal.SIGKILL,
    }
    port_taken = "server running on port"
    accounts: ClassVar[str]
    """The statements that set up the accounts."""
    preset: ClassVar[Mapping[str, str]]
    """What this flavour gets beside `SETTINGS`."""
    obtain: ClassVar[str]
    """How to come by its binaries."""
    user = "root"

    def __init__(
        self,
        installation: MysqlInstallation | None = None,
        directory: Path | None = None,
        *,
        fsync: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        found = [installation] if installation else self._found()
        if not found:
            raise ClusterError(f"No {self.product} binaries were found. {self.obtain}")
        self.installation = found[-1]
        quick = {} if fsync else {"innodb_flush_method": "nosync"}
        super().__init__(directory, {**SETTINGS, **quick, **self.preset, **(settings or {})}, secrets.token_urlsafe(16))

    @abstractmethod
    def _found(self) -> list[MysqlInstallation]:
        """The installations of this flavour on this machine."""

    def parameters(self, database: str | None = None) -> dict[str, Any]:
        """Arguments of `pymysql.connect` for the superuser."""
        return {"host": self.host, "port": self.port, "user": self.user, "password": self.password, "database": database}

    def url(self, database: str = "") -> str:
        """The same as a `mysql://` address."""
        return f"mysql://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def connect(self, database: str | None = None, *, autocommit: bool = True, **more: Any) -> pymysql.Connection[Any]:
        """A connection of the superuser in utf8mb4; the caller closes it. `more` are further arguments of `pymysql.connect`.

        It never leaves the machine, so it is not encrypted: the driver would read all certificates of the machine for each one, which
        takes a hundred times as long as connecting does.
        """
        usual = {"charset": "utf8mb4", "autocommit": autocommit, "ssl_disabled": True}
        return pymysql.connect(**{**self.parameters(database), **usual, **more})

    @abstractmethod
    def _fill(self, accounts: Path) -> tuple[list[str], str]:
        """The command that fills the data directory and runs the statements of a file, and what it wants to read for that."""

    @abstractmethod
    def _program(self) -> list[str]:
        """The server's command without options."""

    def _make(self) -> None:
        accounts = self._secret("accounts.sql", self.accounts.format(host=self.host, password=self.password))
        data = self._home / "data"
        data.mkdir(mode=0o700)
        self._give(data)
        command, told = self._fill(accounts)
        made = subprocess.run(command, input=told, capture_output=True, text=True, cwd="/", check=False, **self._identity)
        accounts.unlink()
        if made.returncode != 0:
            told = (made.stdout + made.stderr)[-2000:]
            raise ClusterError(f"{self.product} can't be set up in {self._home} (can the user {UNPRIVILEGED!r} reach it?):\n{told}")

    def _options(self) -> list[str]:
        """What each start of the program gets, setting up included."""
        # MariaDB removes whatever temporary files it finds when it starts, so no two servers may share a place for them
        places = [f"--datadir={self._home / 'data'}", f"--tmpdir={self._home}", f"--secure-file-priv={self._home}"]
        return ["--no-defaults", *self.installation.places, *places]

    def _command(self) -> list[str]:
        network = [f"--port={self.port}", f"--bind-address={self.host}", "--socket=", f"--pid-file={self._home / 'server.pid'}"]
        settings = {"server_id": str(self.port), **self.settings}  # as unique as the port is
        return [*self._program(), *self._options(), *network, *map(_option, settings, settings.values())]

    def _asked(self) -> bool:
        try:
            self.connect(connect_timeout=5).close()
        except pymysql.err.OperationalError:
            return False
        return True


class PrivateMariadb(MysqlServer):
    """One private MariaDB server; see `MysqlServer`."""

    product = "MariaDB"
    accounts = MARIADB_ACCOUNTS
    preset: ClassVar[Mapping[str, str]] = {"binlog_format": "ROW"}
    obtain = "On Debian: apt-get install mariadb-server."

    def _found(self) -> list[MysqlInstallation]:
        return find_mariadb()

    def _fill(self, accounts: Path) -> tuple[list[str], str]:
        """What `mariadb-install-db` does, which knows nothing of a loader of its own."""
        chosen = ["--bootstrap", "--skip-name-resolve", "--max-allowed-packet=8M", "--innodb-flush-method=nosync", "--log-warnings=0"]
        scripts = "".join(file.read_text("utf-8") for file in (*self.installation.scripts(), accounts))
        told = f"CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n{scripts}"
        return [*self._program(), *self._options(), *chosen], told

    def _program(self) -> list[str]:
        return self.installation.command("mariadbd")


class PrivateMysql(MysqlServer):
    """One private MySQL server; see `MysqlServer`. It starts in seconds rather than one."""

    product = "MySQL"
    accounts = MYSQL_ACCOUNTS
    preset: ClassVar[Mapping[str, str]] = {"mysqlx": "OFF"}
    obtain = "On Debian: python -m headwater.clusters.fetch_servers fetches them."

    def _found(self) -> list[MysqlInstallation]:
        return find_mysql()

    def _fill(self, accounts: Path) -> tuple[list[str], str]:
        return [*self._program(), *self._options(), "--initialize-insecure", f"--init-file={accounts}", "--innodb-flush-method=nosync"], ""

    def _program(self) -> list[str]:
        return self.installation.command("mysqld")


def _option(name: str, value: str) -> str:
    return f"--{name.replace('_', '-')}={value}"
