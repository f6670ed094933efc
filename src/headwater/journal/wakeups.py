"""Waking sleeping readers in other processes: each binds a datagram socket in `wake/`, the writer sends a byte to all.

A socket in the directory needs no registry and dies visibly with its process: sending to it is refused, and the writer
removes it. Socket paths are limited to 108 bytes, so both sides go through `/proc/self/fd/<directory>/` where the path
is longer. Where a socket can't be made at all (a file system without them) a reader looks every 20 ms instead.
"""

from __future__ import annotations

import errno
import itertools
import logging
import os
import select
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger(__name__)

DIRECTORY = "wake"
PATH_BYTES_MAX = 100
LOOK_S = 1.0  # a sleeper looks for itself this often, should its socket have been removed
POLL_S = 0.02  # the same where it has no socket
_numbers = itertools.count()


class _Place:
    """The directory of the sockets, with a path to it that is short enough."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / DIRECTORY
        self.path.mkdir(mode=0o700, exist_ok=True)
        self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def address(self, name: str) -> str:
        direct = str(self.path / name)
        if len(os.fsencode(direct)) <= PATH_BYTES_MAX or not sys.platform.startswith("linux"):
            return direct
        return f"/proc/self/fd/{self._fd}/{name}"

    def close(self) -> None:
        os.close(self._fd)


class Bell:
    """The writer's side."""

    def __init__(self, directory: Path) -> None:
        self._place = _Place(directory)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def ring(self) -> None:
        """Wake every sleeper. Never blocks and never fails: a sleeper that can't be reached looks for itself."""
        try:
            names = os.listdir(self._place.path)
        except FileNotFoundError:
            return
        for name in names:
            self._ring_one(name)

    def _ring_one(self, name: str) -> None:
        try:
            self._socket.sendto(b"!", self._place.address(name))
        except BlockingIOError:
            pass  # its buffer is full: it has been woken already
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                (self._place.path / name).unlink(missing_ok=True)
            elif error.errno != errno.ENOENT:
                log.warning("journal_wake_failed", extra={"fields": {"socket": name, "errno": error.errno}})

    def close(self) -> None:
        """Let go."""
        self._socket.close()
        self._place.close()


class Ear:
    """A reader's side. The socket is bound by the first `sleep_until`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._place: _Place | None = None
        self._socket: socket.socket | None = None
        self._name = f"{os.getpid()}-{next(_numbers)}"
        self._deaf = False

    def sleep_until(self, come: Callable[[], bool], timeout_s: float) -> bool:
        """Sleep until `come()` is true, at most `timeout_s`; its last answer."""
        self._listen()
        deadline = time.monotonic() + timeout_s
        while True:
            self._drain()
            if come():
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._pause(left)

    def _pause(self, left_s: float) -> None:
        if self._socket is None:
            time.sleep(min(left_s, POLL_S))
            return
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        poll.poll(min(left_s, LOOK_S) * 1000)

    def _listen(self) -> None:
        if self._socket is not None or self._deaf:
            return
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self._place = self._place or _Place(self._directory)
            (self._place.path / self._name).unlink(missing_ok=True)
            made.bind(self._place.address(self._name))
        except OSError as error:
            made.close()
            self._deaf = True
            log.warning("journal_wake_unavailable", extra={"fields": {"errno": error.errno, "poll_ms": int(POLL_S * 1000)}})
            return
        made.setblocking(False)
        self._socket = made

    def _drain(self) -> None:
        while self._socket is not None:
            try:
                self._socket.recv(16)
            except BlockingIOError:
                return

    def close(self) -> None:
        """Remove the socket. Idempotent."""
        if self._socket is not None and self._place is not None:
            self._socket.close()
            (self._place.path / self._name).unlink(missing_ok=True)
        if self._place is not None:
            self._place.close()
        self._socket = self._place = None
