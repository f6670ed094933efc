"""The thread that owns the replica's socket: reads, decodes, and never waits for anybody.

    drain what the socket has -> decode -> frames into the box      while the box has room
    sleep                                                           in `select` when the stream is quiet; `PACE_S` when it flows

As with PostgreSQL, a short sleep while much flows lets the socket fill, which is quicker for both sides.
"""

from __future__ import annotations

import select
import threading
import time
from dataclasses import replace

from pymysql.err import Error

from headwater.dialects.mysql_errors import message_of, number_of
from headwater.domain.changes import Frame, Op
from headwater.domain.errors import DecodeError, HeadwaterError, SourceError
from headwater.sources.box import Box
from headwater.sources.frames import told
from headwater.sources.mysql.announcer import Announcer
from headwater.sources.mysql.connect import source_error
from headwater.sources.mysql.ddl import effects
from headwater.sources.mysql.gtids import Places
from headwater.sources.mysql.positions import Position
from headwater.sources.mysql.prepared import Prepared
from headwater.sources.mysql.prepared import frames as xa_frames
from headwater.sources.mysql.replica import LogEnded, Stream
from headwater.wire import binlog, binlog_charsets
from headwater.wire.binlog_events import BinlogError, Heartbeat, Incident, Query

PACE_S = 0.002
FLOWING_BYTES = 8192
FLOWING_LINGER_S = 0.005
SILENT_S = 60.0
"""A server that has sent nothing for so long, although it was asked for a heartbeat each half second, has gone."""
ROUND_BYTES_MAX = 4 * 1024 * 1024
FRAME_ROWS_MAX = 65_536
FRAME_BYTES_MAX = 8 * 1024 * 1024
FLOWING_AGE_S = 0.05
IDLE_S = 1.0

ROTATE_BYTES = 31
"""How long the event is at the end of a file, without the name of the next. No transaction is so short."""

GONE, SAME_ID = 1236, 4052
"""The server's numbers for: this log can't be sent (any more); and another replica has come with our id (MariaDB)."""


class Reader(threading.Thread):
    """Reads one started log into `box` until `stop` or an error, which the box gets.

    What lies in front of `known_to` was captured before, and is read again only for transactions that are prepared there.
    """

    def __init__(
        self,
        stream: Stream,
        decoder: binlog.Decoder,
        announcer: Announcer,
        places: Places,
        box: Box,
        known: Known,
        known_to: tuple[int, int] | None = None,
    ) -> None:
        super().__init__(name="headwater-log-reader", daemon=True)
        self._stream = stream
        self._decoder = decoder
        self._announcer = announcer
        self._framer = announcer.framer
        self._places = places
        self._box = box
        self._known = known
        self._prepared = Prepared()
        self._known_to = known_to
        self._stopping = False
        self._gathering_since = 0.0
        self._flowing_until = 0.0
        self._heard_at = time.monotonic()

    def stop(self) -> None:
        """End soon; `join` waits for it."""
        self._stopping = True
        self._box.wake()

    def run(self) -> None:
        """The thread: rounds until told to stop."""
        try:
            while not self._stopping:
                self._round()
        except BinlogError as error:
            self._fail(DecodeError(f"The source's log can't be read: {error}. Nothing after {self._place()} was captured."))
        except HeadwaterError as error:
            self._fail(error)
        except LogEnded:
            self._fail(SourceError(f"The source ended its log after {self._place()}."))
        except Error as error:
            self._fail(log_error(error, self._place()))
        except Exception as error:  # noqa: BLE001  whatever it is, the caller must hear of it
            failure = HeadwaterError(f"Reading the source's log failed after {self._place()}: {type(error).__name__}")
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, error: HeadwaterError) -> None:
        if not self._stopping:
            self._box.fail(error)

    def _place(self) -> str:
        return f"{self._decoder.log_file}:{self._decoder.log_offset}"

    def _round(self) -> None:
        """One round: read and hand on, then sleep as long as fits the load."""
        if self._box.full:
            self._sleep(reading=False)
            self._heard_at = time.monotonic()  # nothing was read, so nothing can be said of it
            return
        got = self._drain()
        now = time.monotonic()
        self._note_silence(got, now)
        if got >= FLOWING_BYTES:
            self._flowing_until = now + FLOWING_LINGER_S
        flowing = now < self._flowing_until
        if self._may_flush(flowing):
            self._flush()
        if self._box.full:
            return
        if flowing:
            time.sleep(PACE_S)
        elif not got:
            self._sleep(reading=True)

    def _note_silence(self, got: int, now: float) -> None:
        if got:
            self._heard_at = now
        elif now - self._heard_at > SILENT_S:
            raise SourceError(f"The source has sent nothing for {SILENT_S:.0f} s after {self._place()}, not even a heartbeat.")

    def _sleep(self, reading: bool) -> None:
        watched = [self._box.wake_fd, self._stream.fileno()] if reading else [self._box.wake_fd]
        ready, _, _ = select.select(watched, [], [], IDLE_S)
        if self._box.wake_fd in ready:
            self._box.hush()

    def _drain(self) -> int:
        """Decode what has come, until the socket has nothing more; returns how many bytes that were."""
        stream, decoder = self._stream, self._decoder
        first, last = stream.bytes_read, -1
        while last < stream.bytes_read < first + ROUND_BYTES_MAX:
            last = stream.bytes_read
            stream.fill()
            decoder.clock_us = self._known.clock_us()
            while event := stream.feed(decoder):
                if self._act(event):
                    return stream.bytes_read - first
        return stream.bytes_read - first

    def _act(self, event: int) -> bool:
        """Deal with what the decoder saw; True where reading has to pause for it."""
        if self._known_to is not None and self._known_already(event, self._known_to):
            return False
        if event == binlog.COMMIT and self._prepared.kept:
            self._end_parts()
        elif event == binlog.COMMIT:
            if not self._gathering_since:
                self._gathering_since = time.monotonic()
            decoder = self._decoder
            if decoder.rows >= FRAME_ROWS_MAX or decoder.message_bytes >= FRAME_BYTES_MAX or self._framer.parting:
                self._flush()
        elif event == binlog.FULL and self._decoder.may_be_prepared:
            self._keep_part()
        elif event == binlog.FULL:
            self._flush()
        elif event == binlog.NOTICE:
            self._notice(self._decoder.notice)
        elif event in (binlog.PREPARED, binlog.CUT):
            self._set_aside(event)
        return self._box.full

    def _known_already(self, event: int, known_to: tuple[int, int]) -> bool:
        """Whether what the decoder saw lies in front of `known_to`, and is dealt with: only what is prepared there counts."""
        decoder = self._decoder
        place, notice = Position(decoder.log_file, decoder.log_offset).place, decoder.notice
        if place > known_to or (place == known_to and event == binlog.NOTICE and isinstance(notice, Heartbeat)):
            self._known_to, self._places.rereading = None, False
            self._places.prepared_since(self._prepared.since)
            return False
        if event == binlog.PREPARED or (event == binlog.FULL and decoder.may_be_prepared):
            return False
        if event == binlog.NOTICE and isinstance(notice, Query):
            self._prepared.roll_back(_xa_name(self._text(notice)))  # committed or rolled back: it is over
            decoder.forget_tables()
        elif event != binlog.NOTICE:
            self._framer.apart(decoder.take())
            self._prepared.take()
        if event == binlog.CUT:
            decoder.drop_open()
        return True

    def _notice(self, notice: object) -> None:
        if isinstance(notice, Heartbeat):
            self._places.arrived()
            if not self._decoder.transactions and not self._decoder.open:
                self._put((), 0)
        elif isinstance(notice, Query):
            self._statement(notice)
        elif isinstance(notice, Incident):
            what = f"The source says that its log has a gap after {self._place()} (incident {notice.number}: {notice.message})."
            raise SourceError(what, kind="slot_lost")

    def _statement(self, query: Query) -> None:
        """A statement: what it does to our tables comes behind all that was before it. How tables look is asked anew."""
        if query.error_code and query.text[:4].upper() != b"DROP":
            return  # it failed at the source
        text = self._text(query)
        if text[:3].upper() == "XA ":
            self._end_prepared(text)
            return
        found = effects(text, query.database, self._announcer.wanted, query.sql_mode)
        if not self._decoder.open:
            self._flush()
        self._decoder.forget_tables()
        for effect in found:
            before = self._announcer.schema(effect.table)
            op, schema = (Op.TRUNCATE, before) if effect.what == "emptied" else (Op.SHAPE, effect.after(before))
            decoder = self._decoder
            self._put((told(op, schema, decoder.position, decoder.begun_us, decoder.clock_us),), 0)
        self._announcer.forget(effect.table for effect in found if effect.what != "emptied")
        place = Position(self._decoder.log_file, self._decoder.log_offset).place
        self._announcer.defaults.statement(text, query.stamp_s + query.took_s, place)

    def _text(self, query: Query) -> str:
        convert = binlog_charsets.converter(self._announcer.charset(query.charset))
        return (convert(query.text) if convert else query.text).decode("utf-8", "replace")

    def _keep_part(self) -> None:
        """The rows so far of an open XA transaction wait with those that are prepared; what was before it goes out."""
        size = self._decoder.message_bytes
        frames, open_rows = self._framer.apart(self._decoder.take())
        self._gathering_since = 0.0
        self._prepared.keep(open_rows)
        self._put(frames, size)

    def _end_parts(self) -> None:
        """An XA transaction of which parts were kept was committed without being prepared."""
        decoder = self._decoder
        size = decoder.message_bytes
        (rest,) = self._framer.frames(decoder.take(), decoder.clock_us)
        before = xa_frames(self._prepared.take(), decoder.position, decoder.begun_us, decoder.clock_us, last=False)
        self._put((*before, replace(rest, part=len(before))), size)

    def _set_aside(self, event: int) -> None:
        """The rows of the open transaction wait for its commit (PREPARED), or never were (CUT)."""
        decoder = self._decoder
        name, size = decoder.notice, decoder.message_bytes
        frames, open_rows = self._framer.apart(decoder.take())
        self._gathering_since = 0.0
        if event == binlog.PREPARED:
            self._prepared.hold(name, open_rows, Position(decoder.log_file, decoder.ended_offset).place)
            self._places.prepared_since(self._prepared.since)
            decoder.put_aside()
        else:
            self._prepared.take()
            decoder.drop_open()
        self._put(frames, size)

    def _end_prepared(self, text: str) -> None:
        """`XA COMMIT name` or `XA ROLLBACK name`."""
        what, name = text[3:].split(maxsplit=1)[0].upper(), _xa_name(text)
        if what == "ROLLBACK":
            self._prepared.roll_back(name)
            self._places.prepared_since(self._prepared.since)
        elif what == "COMMIT":
            self._flush()
            parts, decoder = self._prepared.commit(name), self._decoder
            self._places.prepared_since(self._prepared.since)
            self._put(xa_frames(parts, decoder.position, decoder.begun_us, decoder.clock_us), 0)

    def _may_flush(self, flowing: bool) -> bool:
        """Whether the transactions that have gathered go out now, at a place where the stream has nothing more for the moment."""
        if not self._decoder.transactions or self._decoder.open or not self._box.wanted:
            return False
        return not flowing or time.monotonic() - self._gathering_since >= FLOWING_AGE_S

    def _flush(self) -> None:
        decoder = self._decoder
        size = decoder.message_bytes
        frames = self._framer.frames(decoder.take(), decoder.clock_us)
        self._gathering_since = 0.0
        if frames:
            self._put(frames, size)

    def _put(self, frames: tuple[Frame, ...], size: int) -> None:
        decoder = self._decoder
        self._box.put(frames, size, decoder.position, decoder.clock_us, self._known.behind(decoder.log_file, decoder.log_offset))


def _xa_name(text: str) -> str:
    """The transaction that `XA COMMIT name` or `XA ROLLBACK name` is about; empty for other statements."""
    parts = text.strip().split(maxsplit=2)
    return parts[2].strip() if len(parts) == 3 and parts[0].upper() == "XA" else ""


class Known:
    """What was known of the server when its log was opened: its files with their sizes, and its clock."""

    def __init__(self, files: dict[str, int], offset_us: int) -> None:
        self._files = files
        self._offset_us = offset_us

    def clock_us(self) -> int:
        """The source's clock now."""
        return time.time_ns() // 1000 + self._offset_us

    def file(self, number: int) -> str | None:
        """The name of the file with this number, None where it is not there."""
        return next((name for name in self._files if Position(name, 0).number == number), None)

    def following(self, file: str, offset: int) -> str | None:
        """The file after this one, where this one has no more than its end behind the place; otherwise None."""
        names = list(self._files)
        if file not in names[:-1]:
            return None
        following = names[names.index(file) + 1]
        return following if self._files[file] - offset <= ROTATE_BYTES + len(following) else None

    def behind(self, file: str, offset: int) -> int:
        """Bytes of the log behind a place, as of then; 0 for places that are younger."""
        if file not in self._files:
            return 0
        names = list(self._files)
        later = sum(self._files[name] for name in names[names.index(file) + 1 :])
        return max(0, self._files[file] - offset) + later


def log_error(error: Error, place: str) -> HeadwaterError:
    """What the server's word on the end of the log means: most are passing, but what it has removed it never will send."""
    doing = f"Reading the source's log after {place}"
    text = message_of(error)
    if number_of(error) == SAME_ID or (number_of(error) == GONE and "same server" in text):
        return SourceError(
            f"{doing} failed: another replica registered with our server_id. Give this data source a server_id of its own. ({text})"
        )
    if number_of(error) != GONE:
        return SourceError(str(source_error(doing, error)))
    if "max_allowed_packet" in text:
        return SourceError(f"{doing} failed: {text}. Run at the source: SET GLOBAL max_allowed_packet = 1073741824;", kind="source_refused")
    return SourceError(f"{doing} failed: {text}", kind="slot_lost")
