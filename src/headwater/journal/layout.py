"""The tables of a journal, and how its file is opened: the one place that knows SQLite's settings and error codes.

Frame rows are the index of the history: small, so that seeking, stamping and retention never touch row values. The
transactions of a frame are a blob of their own in its row; each table batch is a row of `batches`, so that a reader of
other tables leaves it on disk. Blobs stand last in their rows: SQLite reads only what stands before them otherwise.
"""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw

from headwater.domain.errors import JournalError
from headwater.journal import state

FILE_NAME = "journal.db"
APPLICATION_ID = 0x48574A31  # "HWJ1"
FORMAT_VERSION = 1
PAGE_BYTES = 8192
CHECKPOINT_BYTES = 16 << 20  # SQLite moves the write-ahead log into the file whenever it has grown by this much
WAL_BYTES_MAX = 256 << 20  # beyond it (readers kept it from starting over) the writer waits for readers and empties it
BUSY_TIMEOUT_MS = 5_000

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE state (
    one          INTEGER PRIMARY KEY CHECK (one = 1),
    next_offset  INTEGER NOT NULL,
    position     TEXT,
    source_us    INTEGER,
    stamp_reach  INTEGER,          -- highest commit stamp ever appended
    seen_reach   INTEGER,          -- highest seen_us ever appended
    earliest_us  INTEGER,          -- seek is exact from here on
    fresh        INTEGER NOT NULL, -- 1 while no transaction has followed the beginning or the last break
    crc          INTEGER NOT NULL  -- of all the others
);
CREATE TABLE schemas (
    id            INTEGER PRIMARY KEY,
    first_offset  INTEGER NOT NULL,  -- where it was seen first
    table_name    TEXT NOT NULL,
    body          TEXT NOT NULL,
    crc           INTEGER NOT NULL
);
CREATE TABLE frames (
    id            INTEGER PRIMARY KEY,
    first_offset  INTEGER NOT NULL,
    transactions  INTEGER NOT NULL,
    part          INTEGER NOT NULL,
    last          INTEGER NOT NULL,
    level         INTEGER NOT NULL,  -- how often it was merged from smaller frames
    rows          INTEGER NOT NULL,
    blob_bytes    INTEGER NOT NULL,  -- of its transactions and batches
    position      TEXT NOT NULL,     -- of its last transaction
    stamp_max     INTEGER NOT NULL,  -- highest commit stamp within
    stamp_reach   INTEGER NOT NULL,  -- highest commit stamp up to its end: never falls, so seek is a look-up
    seen_reach    INTEGER NOT NULL,
    first_batch   INTEGER NOT NULL,
    batches       INTEGER NOT NULL,
    crc           INTEGER NOT NULL,
    body          BLOB NOT NULL      -- its transactions
);
CREATE UNIQUE INDEX frames_place ON frames (first_offset, part);
CREATE INDEX frames_reach ON frames (stamp_reach, first_offset);
CREATE TABLE batches (
    id         INTEGER PRIMARY KEY,
    schema     INTEGER NOT NULL,
    rows       INTEGER NOT NULL,
    inserts    INTEGER NOT NULL,
    updates    INTEGER NOT NULL,
    deletes    INTEGER NOT NULL,
    truncates  INTEGER NOT NULL,
    unchanged  TEXT NOT NULL,        -- column indexes that have an unchanged mark, joined by commas
    crc        INTEGER NOT NULL,
    body       BLOB NOT NULL
);
CREATE TABLE breaks (at_offset INTEGER PRIMARY KEY, position TEXT NOT NULL, reason TEXT NOT NULL, source_us INTEGER NOT NULL);
"""


def stamp_margin_us(connection: apsw.Connection) -> int:
    """By how much stamps may be older than their commits (see `JournalWriter.stamps_within`)."""
    return int(connection.execute("SELECT value FROM meta WHERE key = 'stamp_margin_us'").get or 0)


def missing(path: Path) -> JournalError:
    """The error for a journal that is not there (yet)."""
    return JournalError(f"There is no journal at {path} yet; it begins when capture of its source starts.", kind="journal_missing")


@contextmanager
def translated(path: Path, doing: str) -> Iterator[None]:
    """Turn SQLite's errors into JournalError of the kind that callers act on."""
    try:
        yield
    except apsw.FullError as error:
        raise _full(path, doing) from error
    except (apsw.IOError, OSError) as error:
        if _out_of_space(error, path):
            raise _full(path, doing) from error
        raise JournalError(f"{doing} failed at {path}: {error}. Check the disk and the file's permissions.") from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise JournalError(f"{doing} waited too long for another process at {path}; it is tried again.", kind="journal_busy") from error
    except apsw.Error as error:
        raise JournalError(f"{doing} failed: {path} can't be read as a journal ({error}). Restore it, or begin a new history.") from error


def _full(path: Path, doing: str) -> JournalError:
    message = f"{doing}: the disk that holds {path} is full; nothing was kept of this step. Free space there."
    return JournalError(message, kind="journal_full")


def _out_of_space(error: Exception, path: Path) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    space = os.statvfs(path.parent)
    return space.f_bavail * space.f_frsize < (1 << 20)


def inode_of(path: Path) -> tuple[int, int] | None:
    """What identifies the file at `path`; None where there is none."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return (found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def open_for_writing(path: Path) -> apsw.Connection:
    """Open or create the journal's database.

    Raises:
        JournalError: `journal_damaged` (not a journal, another format version), `journal_full`.
    """
    with translated(path, "Opening the journal"):
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        try:
            _check_or_create(connection, path)
            connection.execute(f"PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = {CHECKPOINT_BYTES // PAGE_BYTES}")
            connection.execute(f"PRAGMA journal_size_limit = {CHECKPOINT_BYTES}")
        except BaseException:
            connection.close()
            raise
    return connection


def open_for_reading(path: Path) -> apsw.Connection:
    """Open an existing journal's database.

    Raises:
        JournalError: `journal_missing` where there is none yet, `journal_damaged`.
    """
    if inode_of(path) is None:
        raise missing(path)
    with translated(path, "Opening the journal"):
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)  # the shared memory of the WAL needs write access
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        try:
            if not _is_journal(connection, path):
                raise missing(path)
            connection.execute("PRAGMA query_only = ON")
        except BaseException:
            connection.close()
            raise
    return connection


def _check_or_create(connection: apsw.Connection, path: Path) -> None:
    if _is_journal(connection, path):
        return
    connection.execute(f"PRAGMA page_size = {PAGE_BYTES}; PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")
    connection.execute("BEGIN IMMEDIATE")
    connection.execute(SCHEMA)
    connection.execute("INSERT INTO meta VALUES ('journal_id', ?)", (uuid.uuid4().hex,))
    state.create(connection)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT_VERSION}")
    connection.execute("COMMIT")


def _is_journal(connection: apsw.Connection, path: Path) -> bool:
    """True for a journal of our version, False for an empty database (being made); anything else raises."""
    application, version = connection.pragma("application_id"), connection.pragma("user_version")
    if application == APPLICATION_ID:
        if version != FORMAT_VERSION:
            raise JournalError(
                f"{path} has journal format {version}, this Headwater reads {FORMAT_VERSION}. Use the version that wrote it."
            )
        return True
    if application == 0 and not connection.execute("SELECT count(*) FROM sqlite_schema").get:
        return False
    raise JournalError(f"{path} is a database, but not a journal. Move it away, or choose another data directory.")
