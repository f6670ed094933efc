"""Keeps a private server from outliving the program that started it.

`PrivatePostgres` starts this file as a process of its own: it starts the server as its only child, tells its process id on standard
output, and waits until the server ends or its own standard input closes, which happens however the starter dies. A parent-death
signal alone would not do: it follows the *thread* that started the child. Standard library only, so that it starts in milliseconds.

Arguments: uid and gid for the server (-1: ours), log file, directory to remove after an orphaned end (empty: none), command.
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

PR_SET_PDEATHSIG = 1
STOP_TIMEOUT_S = 10.0


def main(uid: str, gid: str, log: str, remove: str, *command: str) -> int:
    """Run the command until it ends or our starter does; returns the command's exit status."""
    with open(log, "ab") as output:
        server = _start(int(uid), int(gid), output.fileno(), command)
    print(server.pid, flush=True)  # noqa: T201 - the starter reads it
    if _orphaned(server.pid):
        _end(server)
        if remove:
            shutil.rmtree(remove, ignore_errors=True)
    return server.wait()


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
    """Wait for the first of: the server ends (False), our standard input closes (True)."""
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


def _end(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGQUIT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(STOP_TIMEOUT_S)
    server.kill()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
