"""What private servers of every kind share: a directory, a free port, a guard, an account, and the ways to start and to end.

Started by root, a server runs as `nobody`: PostgreSQL refuses root, and no private server needs more rights than that. `guard.py` ends
the server with us.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Literal, Self

from headwater.guard import Guarded

UNPRIVILEGED = "nobody"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 60.0
POLL_S = 0.03

StopMode = Literal["smart", "fast", "immediate"]


class ClusterError(RuntimeError):
    """A private server could not be made or started; the message ends with what its log said."""


class PrivateServer(ABC):
    """One private server; a context manager that starts it and, at the end, stops it and removes what it made.

    `directory` must not exist or be empty, and be reachable by `nobody` where root starts it; None makes a temporary one. An empty
    `password` means that none is asked for.
    """

    product: ClassVar[str]
    """Its name for people."""
    signals: ClassVar[Mapping[StopMode, signal.Signals]]
    """What to send for each way to stop."""
    port_taken: ClassVar[str]
    """Words of its log where another server has our port."""

    host = "127.0.0.1"
    user: str

    def __init__(self, directory: Path | None, settings: Mapping[str, str], password: str) -> None:
        self.temporary = directory is None
        self.directory = directory
        self.settings = dict(settings)
        self.password = password
        self.port = 0
        self._server: Guarded | None = None
        self._account = pwd.getpwnam(UNPRIVILEGED) if os.geteuid() == 0 else None

    @abstractmethod
    def _make(self) -> None:
        """Fill the directory before the first start. Raises ClusterError."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Write down the settings and the port; returns the command that runs the server."""

    @abstractmethod
    def _asked(self) -> bool:
        """Whether the server answers."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
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

    def start(self) -> None:
        """Make the cluster (the first time) and start the server; returns once it answers. Does nothing where it runs.

        Raises:
            ClusterError: it could not be made, or did not start.
        """
        if self.running:
            return
        first = self.port == 0
        if first:
            self._make_directory()
            self._make()
        for attempt in range(5):
            if first:
                self.port = free_port()
            if self._launch():
                return
            if not first or self.port_taken not in self.log_tail() or attempt == 4:
                break
        raise ClusterError(f"The private {self.product} server in {self.directory} did not start:\n{self.log_tail()}")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop the server as `pg_ctl stop -m mode` would, and wait for its end. Does nothing where it is stopped."""
        if self._server is not None:
            self._server.signal(self.signals[mode])
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

    def _make_directory(self) -> None:
        if self.directory is None:
            self.directory = Path(tempfile.mkdtemp(prefix=f"headwater-{self.product.lower()}-"))
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._give(self.directory)

    def _secret(self, name: str, text: str) -> Path:
        """A file that only the server's user can read."""
        file = self._home / name
        file.touch(mode=0o600)
        file.write_text(text)
        self._give(file)
        return file

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _launch(self) -> bool:
        """Start the guard and the server; True once it answers, False where it ended instead."""
        self._server = Guarded(
            self._command(),
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
            if self._asked():
                return True
            time.sleep(POLL_S)
        self.kill()
        return False

    def _reap(self) -> None:
        """Wait for the server's end."""
        if self._server is not None:
            self._server.wait(STOP_TIMEOUT_S)
            self._server = None


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody uses at this moment."""
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
