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

from headwater.domain.changes import Frame
from headwater.domain.errors import DecodeError, HeadwaterError, SourceError
from headwater.sources.box import Box
from headwater.sources.frames import Framer
from headwater.sources.postgres import positions
from headwater.sources.postgres.connect import source_error
from headwater.sources.postgres.stream import Stream, StreamEnded
from headwater.wire import pgoutput

STATUS_INTERVAL_S = 1.0
PACE_S = 0.002
FLOWING_BYTES = 8192
"""A round that brings this much counts as a flowing backlog: reading is paced then, ..."""
FLOWING_LINGER_S = 0.005
"""... and for so long after it."""
SILENT_S = 60.0
"""A server that has sent nothing for so long, although it is asked for an answer each second, has gone. As long as its own
`wal_sender_timeout`: while it decodes a large transaction it may be silent for some seconds."""
ROUND_BYTES_MAX = 4 * 1024 * 1024
"""After so much without a pause the timers are looked at."""
FRAME_ROWS_MAX = 65_536
FRAME_BYTES_MAX = 8 * 1024 * 1024
"""A group of transactions is closed at either limit; a transaction beyond it is given in parts."""
FLOWING_AGE_S = 0.05
"""How long changes wait for company while a backlog flows and the caller has nothing to do."""

SLOT_GONE_STATES = ("42704", "55000", "58P01")
"""SQLSTATEs with which the server says that it can't send this log: no such slot or publication, invalidated, removed."""

_STATUS = struct.Struct("!cQQQqB")


def standby_status(confirmed: int, now_us: int) -> bytes:
    """A standby status update that asks for an answer; all that was `confirmed` counts as written, flushed and applied."""
    return _STATUS.pack(b"r", confirmed, confirmed, confirmed, now_us - pgoutput.EPOCH_US, 1)


class Reader(threading.Thread):
    """Reads one started replication stream into `box` until `stop` or an error, which the box gets.

    `position` is where the stream starts; `known_end` the end of the server's log at the start.
    """

    def __init__(self, stream: Stream, decoder: pgoutput.Decoder, framer: Framer, box: Box, position: int, known_end: int) -> None:
        super().__init__(name="headwater-log-reader", daemon=True)
        self._stream = stream
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
        self._heard_at = time.monotonic()

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
            while not self._stopping:
                self._round()
            if self._stopping:
                self._send_status()
        except pgoutput.PgOutputError as error:
            self._fail(DecodeError(f"The source's log can't be read after {self._place()}: {error}. Nothing after it was captured."))
        except HeadwaterError as error:
            self._fail(error)
        except StreamEnded:
            self._fail(SourceError(f"The source ended the replication stream after {self._place()}."))
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
        if self._stream.left_out:
            what = f"The source leaves changes out of its log after {self._place()}: {self._stream.left_out}."
            raise SourceError(what, kind="slot_lost")
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
            raise SourceError(f"The source has sent nothing for {SILENT_S:.0f} s after {self._place()}, though it was asked each second.")

    def _sleep(self, reading: bool) -> None:
        """Until there is something to do, at most until the next status."""
        watched = [self._box.wake_fd, self._stream.fileno()] if reading else [self._box.wake_fd]
        ready, _, _ = select.select(watched, [], [], max(0.0, self._status_due - time.monotonic()))
        if self._box.wake_fd in ready:
            self._box.hush()

    def _drain(self) -> int:
        """Decode what has come, until the socket has nothing more; returns how many bytes that were.

        Stops early where the box is full or the timers need a look. One `fill` takes only as much as a buffer holds.
        """
        stream, decoder = self._stream, self._decoder
        first, last = stream.bytes_read, -1
        while last < stream.bytes_read < first + ROUND_BYTES_MAX:
            last = stream.bytes_read
            stream.fill()
            while event := stream.feed(decoder):
                if self._act(event):
                    return stream.bytes_read - first
        return stream.bytes_read - first

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

    def _status_if_due(self) -> None:
        if time.monotonic() >= self._status_due:
            self._send_status()
            self._status_due = time.monotonic() + STATUS_INTERVAL_S

    def _send_status(self) -> None:
        self._stream.send(standby_status(self._confirmed, time.time_ns() // 1000))


def log_error(error: psycopg.Error, place: str) -> HeadwaterError:
    """What an error of the stream means: most are passing, but a server that can't send this log any more never will."""
    doing = f"Reading the source's log after {place}"
    if error.sqlstate in SLOT_GONE_STATES:
        return SourceError(str(source_error(doing, error)), kind="slot_lost")
    found = source_error(doing, error)
    if not error.sqlstate:
        return SourceError(str(found))
    return found
