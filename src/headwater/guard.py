"""Keeps a process that we start (a private server, the demo's service) from outliving us, however we end.

`Guarded` runs this file as a process of its own: it starts the command as its only child, tells the child's process id on standard
output, and waits until the child ends or its own standard input closes, which happens however the starter dies. A parent-death
signal alone would not do: it follows the *thread* that started the child. Standard library only, so that it starts in milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
ORPHAN_END_S = 10.0


class Guarded:
    """A running command. Its output goes to the end of the file `log`.

    `account` (uid, gid) is who runs it, None: we ourselves. `remove` is a directory that is removed when the command had to be ended
    because its starter died. `environment` replaces ours.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        account: tuple[int, int] | None = None,
        remove: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        uid, gid = account or (-1, -1)
        guard = [sys.executable, "-I", "-S", __file__, str(uid), str(gid), str(log), str(remove or "")]
        self._guard = subprocess.Popen(
            [*guard, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd="/", env=environment, start_new_session=True
        )
        assert self._guard.stdout is not None
        self.pid = int(self._guard.stdout.readline() or 0)

    @property
    def running(self) -> bool:
        """Whether the command has not ended yet."""
        return self._guard.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the command, if it is there."""
        if self.running and self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, timeout_s: float) -> int:
        """Wait for the command's end and return its exit status (128 + n where signal n ended it); after `timeout_s` it is killed."""
        try:
            self._guard.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.signal(signal.SIGKILL)
        self._guard.communicate()  # closes the pipes and waits
        return self._guard.returncode


def main(uid: str, gid: str, log: str, remove: str, *command: str) -> int:
    """Run the command until it ends or our starter does; returns what the guard exits with."""
    with open(log, "ab") as output:
        child = _start(int(uid), int(gid), output.fileno(), command)
    print(child.pid, flush=True)  # noqa: T201 - the starter reads it
    if _orphaned(child.pid):
        _end(child)
        if remove:
            shutil.rmtree(remove, ignore_errors=True)
    status = child.wait()
    return status if status >= 0 else 128 - status


def _start(uid: int, gid: int, output: int, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def die_with_me() -> None:  # runs after the change of user, which would clear it
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)

    who = {} if uid < 0 else {"user": uid, "group": gid, "extra_groups": []}
    streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
    # There are no threads here, so preexec_fn is safe.
    return subprocess.Popen(command, cwd="/", preexec_fn=die_with_me, **streams, **who)  # type: ignore[call-overload,no-any-return]  # noqa: PLW1509


def _orphaned(pid: int) -> bool:
    """Wait for the first of: the child ends (False), our standard input closes (True)."""
    ended = os.pidfd_open(pid)
    try:
        while True:
            ready, _, _ = select.select([0, ended], [], [])
            if ended in ready:
                return False
            if not os.read(0, 64):
                return True
    finally:
        os.close(ended)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGQUIT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(ORPHAN_END_S)
    child.kill()
    child.wait()  # nothing shall write any more where things are about to be removed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
