"""One moment of the source, seen by several sessions: snapshots of each, opened so that all see the same, and the place in the log that
belongs to it.

MariaDB tells each session that begins a consistent snapshot its exact place in the log. So on a quiet server sessions that were opened one
after the other see the same moment without any lock. Where commits come between, they are held back for a few milliseconds (`BACKUP
STAGE BLOCK_COMMIT`); without the right to do that one session has to do. MySQL tells no such place: there everything is held back while the
sessions open (`FLUSH TABLES WITH READ LOCK`), and without that right the place is not exact. Nor is it where that lock is not to be had in
time, because statements wait for rows of transactions that now wait for us; who needs an exact place tries again.

**The journal may be ahead of what can be seen.** These servers send a transaction to replicas once it is in the log, and show it to
others only afterwards: with semi-synchronous replication perhaps seconds later. So the moment has to lie at or behind the end of the log
as it was when its making began: what a copy finds in the journal before that is in the snapshot, too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, repeat

from pymysql.err import Error

from headwater.dialects.mysql_errors import number_of
from headwater.dialects.mysql_session import Session
from headwater.domain.errors import SourceError
from headwater.sources.mysql import lineage
from headwater.sources.mysql.config import MysqlConfig
from headwater.sources.mysql.connect import connect, rows, source_error, translated
from headwater.sources.mysql.positions import Position

SESSIONS = 4
"""Sessions that see a moment, so that so many chunks can be read at the same time."""

LOCK_WAIT_S = 3
"""How long we wait for the lock that holds commits back; others wait behind us, so not for long."""

BEGIN = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
SNAPSHOT_PLACE = "SHOW STATUS LIKE 'binlog_snapshot_%'"
POLL_S = 0.05
PATIENCE_S = 60.0
AGAIN_S = (0.5, 1.0, 2.0, 5.0, 10.0)
"""Pauses before the lock is tried for again; the last one repeats. Meanwhile others get on."""

BUSY = 1205
MAY_NOT = frozenset({1044, 1045, 1142, 1227, 1235, 1064, BUSY, 3167})
"""The lock is not for us: no right, not known to this server, or not to be had in time."""


@dataclass(frozen=True)
class Moment:
    """`sessions`, each in a transaction that sees the moment, and its place in the log; `exact` where that divides the log."""

    sessions: tuple[Session, ...]
    position: Position
    exact: bool


def take(config: MysqlConfig, wait: Callable[[], bool], *, insist: bool = False) -> Moment | None:
    """The moment of now; None where `wait`, which is asked while something has to be waited for, gave up.

    With `insist` it is exact, unless rights are missing: a lock that is not to be had in time is waited for."""
    with connect(config) as asking:
        with translated(f"Looking at the log of {config.place}"):
            upto = lineage.end_place(asking)
        return _mariadb(config, upto, wait) if asking.mariadb else _mysql(config, wait, insist)


def let_go(sessions: tuple[Session, ...]) -> None:
    """Close sessions, whatever state they are in."""
    for session in sessions:
        session._force_close()


def _mariadb(config: MysqlConfig, upto: tuple[int, int], wait: Callable[[], bool]) -> Moment | None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        made = _alike(config)
        if made.position.place >= upto:
            return made
        let_go(made.sessions)  # something is in the log already and not yet to be seen
        if not wait():
            return None
        if time.monotonic() >= deadline:
            raise SourceError(f"Transactions at the end of the log of {config.place} are not committed yet; the copy tries again.")
        time.sleep(POLL_S)


def _alike(config: MysqlConfig) -> Moment:
    """Sessions of one moment at MariaDB: found alike, or made alike; or just one."""
    opened = _open(config)
    places = [_snapshot_place(session) for session in opened]
    if len(set(places)) > 1:
        let_go(opened)
        with _commits_held(config) as held:
            opened = _open(config, SESSIONS if held else 1)
            places = [_snapshot_place(session) for session in opened]
    if len(set(places)) > 1:  # they may not be: what was held back was let through
        let_go(opened[1:])
        opened = opened[:1]
    try:
        with translated(f"Asking {config.place} for the GTIDs of a place in its log"):
            return Moment(opened, lineage.with_gtids(opened[0], *places[0]), True)
    except BaseException:
        let_go(opened)
        raise


def _mysql(config: MysqlConfig, wait: Callable[[], bool], insist: bool) -> Moment | None:
    for pause_s in chain(AGAIN_S, repeat(AGAIN_S[-1])):
        with connect(config) as holder:
            why_not = _try(config, holder, f"SET SESSION lock_wait_timeout = {LOCK_WAIT_S}", "FLUSH TABLES WITH READ LOCK")
            if why_not != BUSY or not insist:
                return _beside(config, holder, held=not why_not)
        deadline = time.monotonic() + pause_s
        while time.monotonic() < deadline:
            if not wait():
                return None
            time.sleep(POLL_S)
    raise AssertionError


def _beside(config: MysqlConfig, holder: Session, held: bool) -> Moment:
    """Sessions of one moment at MySQL where the holder holds everything back, otherwise one."""
    opened = _open(config) if held else _open(config, 1)
    try:
        with translated(f"Taking a snapshot of {config.place}"):
            position = lineage.end_of_log(holder)
            if held:
                holder.query("UNLOCK TABLES")
    except BaseException:
        let_go(opened)
        raise
    return Moment(opened, position, held)


def _open(config: MysqlConfig, count: int = SESSIONS) -> tuple[Session, ...]:
    """Sessions that begin their snapshots right behind one another."""
    opened: list[Session] = []
    try:
        while len(opened) < count:
            opened.append(connect(config))
        with translated(f"Taking a snapshot of {config.place}"):
            for session in opened:
                session.query(BEGIN)
    except BaseException:
        let_go(tuple(opened))
        raise
    return tuple(opened)


def _snapshot_place(session: Session) -> tuple[str, int]:
    found = {str(one["variable_name"]).lower(): str(one["value"]) for one in rows(session, SNAPSHOT_PLACE)}
    return found["binlog_snapshot_file"], int(found["binlog_snapshot_position"])


@contextmanager
def _commits_held(config: MysqlConfig) -> Iterator[bool]:
    """Within it nothing is committed at a MariaDB; False where we may not hold commits back, or could not in time."""
    with connect(config) as holder:
        held = not _try(config, holder, f"SET SESSION lock_wait_timeout = {LOCK_WAIT_S}", "BACKUP STAGE START", "BACKUP STAGE BLOCK_COMMIT")
        try:
            yield held
        finally:
            if held:
                holder.query("BACKUP STAGE END")


def _try(config: MysqlConfig, session: Session, *statements: str) -> int:
    """Run the statements; 0, or the number of the error where one of them is not for us."""
    for statement in statements:
        try:
            session.query(statement)
        except Error as error:
            if number_of(error) in MAY_NOT:
                return number_of(error)
            raise source_error(f"Taking a snapshot of {config.place}", error) from None
    return 0
