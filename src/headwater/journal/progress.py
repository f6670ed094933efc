"""The side file that tells readers where the history stands, without a query.

Readers ask every few milliseconds and heartbeats come several times a second: neither may cost a database transaction. The
file is written in place after the database has committed, so it never claims more than is durable; a checksum finds
half-written records, and then the database is asked. A heartbeat that moves the position is flushed to disk: capture
confirms it to the source, so it must not be forgotten.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from pathlib import Path

from headwater.ports.journal import JournalEnd

FILE_NAME = "progress"
_HEAD = struct.Struct("<4sII")  # magic, crc32 of the body, length of the body
_MAGIC = b"HWP1"
_FIRST_READ_BYTES = 1024


def _record(end: JournalEnd) -> bytes:
    body = json.dumps([end.journal_id, end.next_offset, end.position, end.source_us]).encode()
    return _HEAD.pack(_MAGIC, zlib.crc32(body), len(body)) + body


def _parse(raw: bytes) -> JournalEnd | None:
    if len(raw) < _HEAD.size:
        return None
    magic, crc, length = _HEAD.unpack_from(raw)
    body = raw[_HEAD.size : _HEAD.size + length]
    if magic != _MAGIC or len(body) != length or zlib.crc32(body) != crc:
        return None
    return JournalEnd(*json.loads(body))


class ProgressWriter:
    """The writer's hold on the file. Made anew where it is missing; never replaced, since readers keep it open."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def read(self) -> JournalEnd | None:
        """What the last writer left, if it is whole."""
        return _parse(os.pread(self._fd, os.fstat(self._fd).st_size, 0))

    def write(self, end: JournalEnd, durable: bool = False) -> None:
        """Put the record in place of the old one. Raises OSError."""
        record = _record(end)
        os.pwrite(self._fd, record, 0)
        if durable:
            os.fdatasync(self._fd)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)


class ProgressReader:
    """A reader's view; `read` costs one system call while nothing has changed."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / FILE_NAME
        self._fd: int | None = None
        self._raw = b""
        self._end: JournalEnd | None = None

    def read(self) -> JournalEnd | None:
        """The newest record; None where there is no whole one: ask the database then."""
        if self._fd is None and not self._open():
            return None
        assert self._fd is not None
        raw = os.pread(self._fd, _FIRST_READ_BYTES, 0)
        if len(raw) == _FIRST_READ_BYTES:
            raw = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        if raw != self._raw:
            self._raw, self._end = raw, _parse(raw)
        return self._end

    def _open(self) -> bool:
        try:
            self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        return True

    def refresh(self) -> None:
        """Look again at whether the file is still the one at its path."""
        if self._fd is None:
            return
        try:
            same = os.path.samestat(os.stat(self._path), os.fstat(self._fd))
        except FileNotFoundError:
            same = False
        if not same:
            self.close()

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd, self._raw, self._end = None, b"", None
