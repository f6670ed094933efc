"""Where a journal stands, as one value: what an append, a break or a drop makes of it is decided here, without I/O.

`earliest_us` is the earliest moment for which seeking is exact. It begins with the first word of the source (or the stamp of
the first transaction, where that is earlier: nothing before it in log order is missing), and rises where history is dropped
or broken: behind both, only times beyond every stamp that went before are free of doubt.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

import apsw

from headwater.journal.seals import damaged
from headwater.ports.journal import JournalEnd


class State(NamedTuple):
    """The row of table `state`."""

    next_offset: int
    position: str | None
    source_us: int | None
    stamp_reach: int | None
    seen_reach: int | None
    earliest_us: int | None
    fresh: int  # 1 or 0, as SQLite gives it back

    def end(self, journal_id: str) -> JournalEnd:
        """The same for readers."""
        return JournalEnd(journal_id, self.next_offset, self.position, self.source_us)

    def heard(self, position: str, source_us: int) -> State:
        """After a word of the source."""
        earliest = source_us if self.earliest_us is None else self.earliest_us
        return self._replace(position=position, source_us=source_us, earliest_us=earliest)

    def grown(self, transactions: int, first_stamp: int, stamp_max: int, seen_max: int) -> State:
        """After a frame; `transactions` is 0 for a part that is not the last."""
        earliest, reach = self.earliest_us, self.stamp_reach
        if self.fresh:
            earliest = min(first_stamp, first_stamp if earliest is None else earliest)
            earliest = earliest if reach is None else max(earliest, reach + 1)
        return self._replace(
            next_offset=self.next_offset + transactions,
            stamp_reach=stamp_max if reach is None else max(reach, stamp_max),
            seen_reach=seen_max if self.seen_reach is None else max(self.seen_reach, seen_max),
            earliest_us=earliest,
            fresh=0,
        )

    def broken(self, position: str, source_us: int, reach: int | None) -> State:
        """After a break in the history, which takes one offset; `reach` as for `dropped`, of all that went before."""
        earliest = source_us if reach is None else max(source_us, reach + 1)
        return self._replace(next_offset=self.next_offset + 1, position=position, source_us=source_us, earliest_us=earliest, fresh=1)

    def dropped(self, reach: int) -> State:
        """After frames were dropped of which none was committed later than `reach`."""
        earliest = reach + 1 if self.earliest_us is None else max(self.earliest_us, reach + 1)
        return self._replace(earliest_us=earliest)


_COLUMNS = State._fields


def load(connection: apsw.Connection) -> State:
    """Read it."""
    row = connection.execute(f"SELECT {', '.join(_COLUMNS)}, crc FROM state").fetchone()  # noqa: S608 our own names
    if row is None or row[-1] != _crc(row[:-1]):
        raise damaged("the record of where it stands does not match its checksum")
    return State(*row[:-1])


def _crc(values: tuple[object, ...]) -> int:
    return zlib.crc32(repr(tuple(values)).encode())


def create(connection: apsw.Connection) -> None:
    """The state of a new journal."""
    connection.execute("INSERT INTO state (one, next_offset, fresh, crc) VALUES (1, 0, 1, 0)")
    save(connection, State(0, None, None, None, None, None, 1))


def save(connection: apsw.Connection, state: State) -> None:
    """Write it, inside the caller's transaction."""
    columns = ", ".join(f"{column} = ?" for column in _COLUMNS)
    connection.execute(f"UPDATE state SET {columns}, crc = ?", (*state, _crc(state)))  # noqa: S608 our own names
