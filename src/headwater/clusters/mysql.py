"""Private MariaDB servers, from the binaries of Debian's package `mariadb-server`.

They listen on 127.0.0.1 alone (no socket file: its path must be short, and directories may be deep), write a row-based binary log with
all metadata, and read no configuration file of the machine.
"""

from __future__ import annotations

import re
import secrets
import signal
import subprocess
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pymysql

from headwater.clusters.server import UNPRIVILEGED, ClusterError, PrivateServer, StopMode

Flavour = Literal["mariadb", "mysql"]
PROGRAM_DIRS = ("usr/sbin", "usr/bin", "sbin", "bin")
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


@dataclass(frozen=True, order=True)
class MysqlInstallation:
    """The binaries of MariaDB or MySQL below `root`. `version` is (major, minor)."""

    version: tuple[int, int]
    flavour: Flavour
    root: Path = Path("/")

    @property
    def name(self) -> str:
        """Short name by version, e.g. `mariadb10.11`."""
        return f"{self.flavour}{self.version[0]}.{self.version[1]}"

    def command(self, program: str) -> list[str]:
        """The beginning of a command line that runs one of its programs.

        Raises:
            ClusterError: the installation lacks it.
        """
        for directory in PROGRAM_DIRS:
            if (path := self.root / directory / program).exists():
                return [str(path)]
        raise ClusterError(f"{self.name} below {self.root} has no {program}.")


def find_mariadb() -> list[MysqlInstallation]:
    """The MariaDB installation of this machine; empty where there is none that can make private servers."""
    found = _installed("mariadb", "mariadbd")
    return [] if found is None or not _has(found, "mariadb-install-db") else [found]


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
    user = "root"

    def __init__(
        self,
        installation: MysqlInstallation,
        directory: Path | None = None,
        *,
        fsync: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.installation = installation
        quick = {} if fsync else {"innodb_flush_method": "nosync"}
        super().__init__(directory, {**SETTINGS, **quick, **(settings or {})}, secrets.token_urlsafe(16))

    def parameters(self, database: str | None = None) -> dict[str, Any]:
        """Arguments of `pymysql.connect` for the superuser."""
        return {"host": self.host, "port": self.port, "user": self.user, "password": self.password, "database": database}

    def url(self, database: str = "") -> str:
        """The same as a `mysql://` address."""
        return f"mysql://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def connect(self, database: str | None = None, *, autocommit: bool = True, **more: Any) -> pymysql.Connection[Any]:
        """A connection of the superuser in utf8mb4; the caller closes it. `more` are further arguments of `pymysql.connect`."""
        return pymysql.connect(**{**self.parameters(database), "charset": "utf8mb4", "autocommit": autocommit, **more})

    @abstractmethod
    def _fill(self, accounts: Path) -> list[str]:
        """The command that makes the data directory and then runs the statements of a file."""

    def _make(self) -> None:
        accounts = self._secret("accounts.sql", self._accounts())
        made = subprocess.run(self._fill(accounts), capture_output=True, text=True, cwd="/", check=False, **self._identity)
        accounts.unlink()
        if made.returncode != 0:
            told = (made.stdout + made.stderr)[-2000:]
            raise ClusterError(f"{self.product} can't be set up in {self._home} (can the user {UNPRIVILEGED!r} reach it?):\n{told}")

    @abstractmethod
    def _accounts(self) -> str:
        """The statements, one per line, that leave `root` from 127.0.0.1 with our password and no other administrator."""

    def _options(self) -> list[str]:
        """What each start of the program gets, setting up included."""
        return ["--no-defaults", f"--datadir={self._home / 'data'}", f"--secure-file-priv={self._home}"]

    def _command(self) -> list[str]:
        network = [f"--port={self.port}", f"--bind-address={self.host}", "--socket=", f"--pid-file={self._home / 'server.pid'}"]
        settings = {"server_id": str(self.port), **self.settings}  # as unique as the port is
        return [*self._program(), *self._options(), *network, *map(_option, settings, settings.values())]

    @abstractmethod
    def _program(self) -> list[str]:
        """The server's command without options."""

    def _asked(self) -> bool:
        try:
            self.connect(connect_timeout=5).close()
        except pymysql.err.OperationalError:
            return False
        return True


class PrivateMariadb(MysqlServer):
    """One private MariaDB server; see `MysqlServer`."""

    product = "MariaDB"

    def __init__(
        self,
        installation: MysqlInstallation | None = None,
        directory: Path | None = None,
        *,
        fsync: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        found = [installation] if installation else find_mariadb()
        if not found:
            raise ClusterError("No MariaDB binaries were found. On Debian: apt-get install mariadb-server.")
        super().__init__(found[-1], directory, fsync=fsync, settings={"binlog_format": "ROW", **(settings or {})})

    def _fill(self, accounts: Path) -> list[str]:
        chosen = ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", f"--extra-file={accounts}"]
        return [*self.installation.command("mariadb-install-db"), *self._options(), *chosen, "--innodb-flush-method=nosync"]

    def _accounts(self) -> str:
        return MARIADB_ACCOUNTS.format(host=self.host, password=self.password)

    def _program(self) -> list[str]:
        return self.installation.command("mariadbd")


def _option(name: str, value: str) -> str:
    return f"--{name.replace('_', '-')}={value}"


def _installed(flavour: Flavour, program: str, root: Path = Path("/")) -> MysqlInstallation | None:
    """What stands below `root`, None where no server of that flavour runs there."""
    found = MysqlInstallation((0, 0), flavour, root)
    try:
        told = subprocess.run([*found.command(program), "--version"], capture_output=True, text=True, check=False).stdout
    except (ClusterError, OSError):
        return None
    version = re.search(r"Ver (\d+)\.(\d+)", told)
    if version is None or ("MariaDB" in told) != (flavour == "mariadb"):
        return None
    return MysqlInstallation((int(version[1]), int(version[2])), flavour, root)


def _has(installation: MysqlInstallation, program: str) -> bool:
    try:
        return bool(installation.command(program))
    except ClusterError:
        return False
