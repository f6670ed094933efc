"""A door before a server: the tests cut, close, stall or slow it, lead it elsewhere, have it swallow all, or rob it of (half) an answer."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

READ_BYTES = 64 * 1024
COMMITS = (b"COMMIT\0", b"\x03COMMIT")
"""How PostgreSQL and MySQL are asked to."""
RESET_AT_CLOSE = struct.pack("ii", 1, 0)


@dataclass(eq=False)
class Passage:
    """One connection through the door."""

    client: socket.socket
    server: socket.socket
    robbed: bool = False  # the server's next answer never arrives
    swallowing: bool = False  # nothing arrives any more, and the server does not even hear that the client has gone
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ended: bool = False

    def end(self, reset: bool) -> None:
        """Close both halves; with `reset` as a lost host does: whoever reads or writes there is told "connection reset"."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
        for half in (self.client, self.server):
            if reset:
                half.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
            with contextlib.suppress(OSError):
                half.shutdown(socket.SHUT_RD if reset else socket.SHUT_RDWR)  # wakes the thread that reads here
            half.close()


class Proxy:
    """Forwards connections to `goal`, a (host, port) that may be changed. Everything may be called from any thread."""

    host = "127.0.0.1"

    def __init__(self, goal: tuple[str, int]) -> None:
        self.goal = goal
        self.delay_s = 0.0  # each piece of data waits this long
        self.shut = False  # new connections are reset at once
        self._flowing = threading.Event()
        self._flowing.set()
        self._rob, self._tear = threading.Event(), threading.Event()
        self._passages: set[Passage] = set()
        self._listener = socket.create_server((self.host, 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._accept, name=f"proxy-{self.port}", daemon=True).start()

    def close(self) -> None:
        """End it and everything that passes through it."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._flowing.set()
        self.cut()

    def cut(self) -> int:
        """Reset every connection; returns how many there were."""
        passages = list(self._passages)
        for passage in passages:
            passage.end(reset=True)
        return len(passages)

    def lead(self, goal: tuple[str, int]) -> None:
        """Send new connections to another server, and reset those that there are, as when a name is moved."""
        self.goal = goal
        self.cut()

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Reset everything, and let nobody in, for the body of the `with`."""
        self.shut = True
        self.cut()
        try:
            yield
        finally:
            self.shut = False

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Nothing passes, and nobody is told, for the body of the `with`."""
        self._flowing.clear()
        try:
            yield
        finally:
            self._flowing.set()

    def swallow(self) -> int:
        """Connections that there are stay open, and nothing ever passes there again; new ones work. Returns how many there were."""
        passages = list(self._passages)
        for passage in passages:
            passage.swallowing = True
        return len(passages)

    @contextlib.contextmanager
    def slow(self, delay_s: float) -> Iterator[None]:
        """Each piece of data comes so much later, for the body of the `with`."""
        self.delay_s = delay_s
        try:
            yield
        finally:
            self.delay_s = 0.0

    def rob(self) -> None:
        """Let the next COMMIT through, and reset its connection instead of handing its answer over."""
        self._rob.set()

    @property
    def robbed(self) -> bool:
        """True once `rob` has found its COMMIT."""
        return not self._rob.is_set()

    def tear(self) -> None:
        """Of the next piece of data that the server sends hand over the first half, and reset its connection."""
        self._tear.set()

    @property
    def torn(self) -> bool:
        """True once `tear` has found its piece."""
        return not self._tear.is_set()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = None if self.shut else socket.create_connection(self.goal, timeout=5)
            except OSError:
                server = None
            if server is None:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_AT_CLOSE)
                client.close()
                continue
            self._begin(Passage(client, server))

    def _begin(self, passage: Passage) -> None:
        passage.server.settimeout(None)
        for half in (passage.client, passage.server):
            half.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._passages.add(passage)
        for asking in (True, False):
            threading.Thread(target=self._pump, args=(passage, asking), daemon=True).start()

    def _pump(self, passage: Passage, asking: bool) -> None:
        """Carry one direction, `asking` from the client, until either end is gone."""
        origin, goal = (passage.client, passage.server) if asking else (passage.server, passage.client)
        reset = False
        try:
            while data := origin.recv(READ_BYTES):
                self._flowing.wait()
                if passage.swallowing:
                    continue
                if self.delay_s:
                    time.sleep(self.delay_s)
                if asking and self._rob.is_set() and any(commit in data for commit in COMMITS):
                    self._rob.clear()
                    passage.robbed = True
                if not asking and passage.robbed:
                    reset = True
                    break
                if not asking and self._tear.is_set() and len(data) > 1:
                    self._tear.clear()
                    goal.sendall(data[: len(data) // 2])
                    reset = True
                    break
                goal.sendall(data)
        except OSError:
            reset = True
        if passage.swallowing and asking and not reset:
            return  # only `cut` lets the server know
        passage.end(reset)
        self._passages.discard(passage)
