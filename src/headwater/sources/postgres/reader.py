"""The thread that owns the replication socket: reads, decodes, answers keepalives, and never waits for anybody.

    drain what libpq has -> decode -> frames into the box      while the box has room
    standby status                                             every `STATUS_INTERVAL_S`, whatever else goes on
    sleep                                                      in `select` when the stream is quiet; `PACE_S` when it flows

The short sleep is not idleness: letting the socket fill between reads more than doubled the rate at which the server sends, because
neither side is woken for every message. When the load is light there is no such sleep, and a commit goes out as soon as it is in.
"""

from __future__ import annotations

import select
import struct
import threading
import time

import psycopg
from psycopg import pq

from headwater.domain.changes import Frame
from headwater.domain.errors import DecodeError, HeadwaterError, SourceError
from headwater.sources.postgres import positions
from headwater.sources.postgres.box import Box
from headwater.sources.postgres.connect import source_error
from headwater.sources.postgres.frames import Framer
from headwater.wire import pgoutput

STATUS_INTERVAL_S = 1.0
PACE_S = 0.001
FLOWING_MESSAGES = 32
"""A round that brings this many messages counts as a flowing backlog: reading is paced then, ..."""
FLOWING_LINGER_S = 0.005
"""... and for so long after it."""
ROUND_MESSAGES_MAX = 20_000
"""After so many messages without a pause the timers are looked at."""
FRAME_ROWS_MAX = 65_536
FRAME_BYTES_MAX = 8 * 1024 * 1024
"""A group of transactions is closed at either limit; a transaction beyond it is given in parts."""
FLOWING_AGE_S = 0.02
"""How long changes wait for company while a backlog flows and the caller has nothing to do."""

SLOT_GONE_STATES = ("42704", "55000", "58P01")
"""SQLSTATEs with which the server says that it can't send this log: no such slot or publication, invalidated, removed."""

SKIPPING_WARNINGS = (b"55000",)
"""SQLSTATEs of warnings that mean that changes do not come."""

_STATUS = struct.Struct("!cQQQqB")


def standby_status(confirmed: int, now_us: int) -> bytes:
    """A standby status update that asks for an answer; all that was `confirmed` counts as written, flushed and applied."""
    return _STATUS.pack(b"r", confirmed, confirmed, confirmed, now_us - pgoutput.EPOCH_US, 1)


class Reader(threading.Thread):
    """Reads one started replication stream into `box` until `stop` or an error, which the box gets.

    `position` is where the stream starts; `known_end` the end of the server's log at the start.
    """

    def __init__(self, pgconn: pq.abc.PGconn, decoder: pgoutput.Decoder, framer: Framer, box: Box, position: int, known_end: int) -> None:
        super().__init__(name="headwater-log-reader", daemon=True)
        self._pgconn = pgconn
        self._decoder = decoder
        self._framer = framer
        self._box = box
        self._start_position = position
        self._known_end = known_end
        self._confirmed = position
        self._stopping = False
        self._status_due = 0.0
        self._gathering_since = 0.0
        self._flowing_until = 0.0
        self._ended = False
        self._left_out = ""

    def confirm(self, position: int) -> None:
        """What the next status tells; it never goes back. Callable from any thread."""
        self._confirmed = max(self._confirmed, position)

    def stop(self) -> None:
        """End soon; `join` waits for it."""
        self._stopping = True
        self._box.wake()

    def run(self) -> None:
        """The thread: rounds until told to stop."""
        try:
            self._pgconn.nonblocking = 1
            self._pgconn.notice_handler = self._notice
            while not self._stopping and not self._ended:
                self._round()
            if self._stopping:
                self._send_status()
        except pgoutput.PgOutputError as error:
            self._fail(DecodeError(f"The source's log can't be read after {self._place()}: {error}. Nothing after it was captured."))
        except HeadwaterError as error:
            self._fail(error)
        except psycopg.Error as error:
            self._fail(log_error(error, self._place()))
        except Exception as error:  # noqa: BLE001  whatever it is, the caller must hear of it
            failure = HeadwaterError(f"Reading the source's log failed after {self._place()}: {type(error).__name__}")
            failure.__cause__ = error
            self._fail(failure)

    def _fail(self, error: HeadwaterError) -> None:
        if not self._stopping:
            self._box.fail(error)

    def _place(self) -> str:
        return positions.text(self._decoder.position or self._start_position)

    def _round(self) -> None:
        """One round: status if it is due, then read and hand on, then sleep as long as fits the load."""
        self._status_if_due()
        if self._left_out:
            raise SourceError(f"The source leaves changes out of its log after {self._place()}: {self._left_out}.", kind="slot_lost")
        if self._box.full:
            self._sleep(reading=False)
            return
        messages = self._drain()
        now = time.monotonic()
        if messages >= FLOWING_MESSAGES:
            self._flowing_until = now + FLOWING_LINGER_S
        flowing = now < self._flowing_until
        if self._may_flush(flowing):
            self._flush()
        if self._ended or self._box.full:
            return
        if flowing:
            time.sleep(PACE_S)
        elif not messages:
            self._sleep(reading=True)

    def _sleep(self, reading: bool) -> None:
        """Until there is something to do, at most until the next status."""
        watched = [self._box.wake_fd, self._pgconn.socket] if reading else [self._box.wake_fd]
        ready, _, _ = select.select(watched, [], [], max(0.0, self._status_due - time.monotonic()))
        if self._box.wake_fd in ready:
            self._box.hush()

    def _drain(self) -> int:
        """Decode what has come, until the socket has nothing more; returns the number of messages.

        Stops early where the box is full or the timers need a look. One reading of libpq takes only as much as its buffer holds.
        """
        get, feed = self._pgconn.get_copy_data, self._decoder.feed
        count, before = 0, -1
        while before < count < ROUND_MESSAGES_MAX:
            before = count
            self._pgconn.consume_input()
            size, message = get(1)
            while size > 0:
                count += 1
                event = feed(message)
                if event and self._act(event):
                    return count
                size, message = get(1)
            if size < 0:
                self._finish()
                return count
        return count

    def _act(self, event: int) -> bool:
        """Deal with what the decoder saw; True where reading has to pause for it."""
        if event == pgoutput.COMMIT:
            if not self._gathering_since:
                self._gathering_since = time.monotonic()
            decoder = self._decoder
            if decoder.rows >= FRAME_ROWS_MAX or decoder.message_bytes >= FRAME_BYTES_MAX or self._framer.parting:
                self._flush()
        elif event == pgoutput.FULL:
            self._flush()
        elif event == pgoutput.KEEPALIVE_URGENT:
            self._status_due = 0.0
            self._heartbeat()
            return True
        elif event == pgoutput.KEEPALIVE:
            self._heartbeat()
        return self._box.full

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
        self._put(frames, size)

    def _heartbeat(self) -> None:
        """The server's word on where its log stands; with changes gathered it goes out with them."""
        if not self._decoder.transactions:
            self._put((), 0)

    def _put(self, frames: tuple[Frame, ...], size: int) -> None:
        position = max(self._decoder.position, self._start_position)
        self._known_end = max(self._known_end, position)
        self._box.put(frames, size, positions.text(position), self._decoder.clock_us, self._known_end - position)

    def _notice(self, result: pq.abc.PGresult) -> None:
        """Since version 18 a publication that is gone is no error to the server any more: it warns, and leaves the changes out."""
        if result.error_field(pq.DiagnosticField.SQLSTATE) in SKIPPING_WARNINGS:
            self._left_out = (result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) or b"").decode("utf-8", "replace")

    def _status_if_due(self) -> None:
        if time.monotonic() >= self._status_due:
            self._send_status()
            self._status_due = time.monotonic() + STATUS_INTERVAL_S

    def _send_status(self) -> None:
        self._pgconn.put_copy_data(standby_status(self._confirmed, time.time_ns() // 1000))
        self._pgconn.flush()

    def _finish(self) -> None:
        """The server has ended the stream: tell why."""
        self._ended = True
        if self._stopping:
            return
        result = self._pgconn.get_result()
        if result is not None and result.status == pq.ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)
        raise SourceError(f"The source ended the replication stream after {self._place()}.")


def log_error(error: psycopg.Error, place: str) -> HeadwaterError:
    """What an error of the stream means: most are passing, but a server that can't send this log any more never will."""
    doing = f"Reading the source's log after {place}"
    if error.sqlstate in SLOT_GONE_STATES:
        return SourceError(str(source_error(doing, error)), kind="slot_lost")
    found = source_error(doing, error)
    if not error.sqlstate:
        return SourceError(str(found))
    return found
