"""Opening the log at a place, and the `Log` that the engine sees."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from pymysql.err import Error

from headwater.dialects.mysql_session import Session
from headwater.domain.errors import SourceError
from headwater.domain.tables import TableName
from headwater.ports.source import NO_TRAIL, Trail
from headwater.sources.box import Box
from headwater.sources.log import QUEUE_BYTES_MAX, ReadLog
from headwater.sources.mysql import lineage, positions, replica
from headwater.sources.mysql.announcer import Announcer
from headwater.sources.mysql.config import MysqlConfig
from headwater.sources.mysql.connect import connect, row, translated
from headwater.sources.mysql.gtids import Places
from headwater.sources.mysql.positions import Position
from headwater.sources.mysql.reader import FRAME_BYTES_MAX, FRAME_ROWS_MAX, Known, Reader, log_error
from headwater.wire.binlog import Decoder

OFFSET_MAX = (1 << 32) - 1
"""What fits into the command that asks by file and offset. A huge transaction makes a file larger than this."""

STAMP_MARGIN_US = 24 * 3_600_000_000
"""A statement that is a transaction of its own is stamped with its beginning, where the log has no better stamps. What is captured as it
happens is found by when it was seen; only of what is captured late a reset goes back by as much as this, which costs time alone. One
that takes longer than a day, while capture lags, may lie before the place that a reset finds."""

CLOCK = "SELECT UNIX_TIMESTAMP(NOW(6)) AS now"


class MysqlLog(ReadLog):
    """See `Log`."""

    def __init__(self, stream: replica.Stream, announcer: Announcer, places: Places, start: Start) -> None:
        self.start = str(start.after)
        self.history = start.identity.history
        self.stamp_margin_us = start.stamp_margin_us
        file, offset = ("", lineage.BEGINNING) if start.by_gtids else start.first
        decoder = Decoder(announcer.plan_of, places, FRAME_ROWS_MAX, FRAME_BYTES_MAX, file, offset, replica.unpack, announcer.defaults_of)
        known_to = start.after.place if start.rereading else None
        box = Box(QUEUE_BYTES_MAX)
        super().__init__(box, Reader(stream, decoder, announcer, places, box, start.known, known_to), stream, announcer)

    def confirm(self, position: str) -> None:
        """See `Log.confirm`: the server keeps its log for as long as it is told to, whoever has read it."""


@dataclass(frozen=True)
class Start:
    """Where a log is opened: behind `after`, which is a place of another server where `by_gtids`, or `at_end`."""

    after: Position
    by_gtids: bool
    identity: lineage.Identity
    known: Known
    stamp_margin_us: int
    at_end: bool

    @property
    def first(self) -> tuple[str, int]:
        """The file and the offset from which the log is read: where the first prepared transaction begins, if that is still there."""
        since = self.after.since
        file = None if since is None else self.known.file(since[0])
        return (self.after.file, self.after.offset) if since is None or file is None else (file, since[1])

    @property
    def rereading(self) -> bool:
        """Whether something is read that was captured before."""
        return not self.by_gtids and self.first != (self.after.file, self.after.offset)


def open_log(config: MysqlConfig, tables: Sequence[TableName], after: str | None, new_history: bool, trail: Trail = NO_TRAIL) -> MysqlLog:
    """See `Source.open_log`."""
    session = connect(config)
    announcer = Announcer(config, tables)
    try:
        with translated(f"Preparing the log of {config.place}"):
            start = _prepare(session, config, None if after is None else positions.parse(after), new_history, trail)
        if start.at_end:
            announcer.defaults.opened_s = start.known.clock_us() // 1_000_000
        places = Places(start.after, session.mariadb, start.identity.server, start.by_gtids)
        places.rereading = start.rereading
        stream = _start(session, config, start)
        return MysqlLog(stream, announcer, places, start)
    except BaseException:
        session._force_close()
        announcer.close()
        raise


def _prepare(session: Session, config: MysqlConfig, after: Position | None, new_history: bool, trail: Trail) -> Start:
    joined = lineage.join(session, after, trail)
    if joined.reason and not new_history:
        raise SourceError(f"{config.place} can't give what follows the captured changes: {joined.reason}.", kind="slot_lost")
    fresh = joined.after is None or bool(joined.reason)
    place = lineage.end_of_log(session) if fresh or joined.after is None else joined.after
    known = Known(lineage.log_files(session), _offset_us(session))
    by_gtids = joined.by_gtids and not fresh
    at_end = not by_gtids and place.place == lineage.end_place(session)
    margin_us = 0 if session.since(None, (8, 0, 1)) else STAMP_MARGIN_US
    return Start(after if by_gtids and after else place, by_gtids, lineage.identify(session), known, margin_us, at_end)


def _offset_us(session: Session) -> int:
    """How far the server's clock is ahead of ours."""
    before = time.time_ns()
    told = row(session, CLOCK)["now"]
    return int(float(told) * 1e6) - (before + time.time_ns()) // 2000


def _start(session: Session, config: MysqlConfig, start: Start) -> replica.Stream:
    """Register and ask for the log. What the server has against it comes with the first packet."""
    file, offset = start.first
    following = start.known.following(file, offset)
    try:
        replica.register(session, config.replica_id)
        if start.by_gtids:
            replica.dump_behind(session, config.replica_id, start.after.gtids)
        elif offset <= OFFSET_MAX:
            replica.dump_from(session, config.replica_id, file, offset)
        elif following is not None:
            replica.dump_from(session, config.replica_id, following, lineage.BEGINNING)
        elif not session.mariadb and lineage.gives_gtids(session):
            replica.dump_from_beyond(session, config.replica_id, file, offset)
        elif session.mariadb and start.after.gtids and not start.rereading:
            replica.dump_behind(session, config.replica_id, start.after.gtids)
        else:
            raise _out_of_reach(session, file, offset)
        return replica.Stream(session)
    except Error as error:
        raise log_error(error, str(start.after)) from None


def _out_of_reach(session: Session, file: str, offset: int) -> SourceError:
    what = f"The log can't be followed from {file}:{offset}: a replica can ask for places beyond 4 GiB by GTIDs only"
    why = "and not for one where an XA transaction was prepared" if session.mariadb else "and this server gives none (gtid_mode is not ON)"
    return SourceError(f"{what}, {why}.", kind="slot_lost")
