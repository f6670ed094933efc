"""The tables that capture follows, and those that it has lost: dropped at the source, or dropped and made anew under their name.

A table that is dropped leaves the publication, and nobody but us adds one to it. So a table that we had published and that is
published no more was gone in between, and what happened to it then is in no log. It is followed again where it is there again, but
copies that are older than the loss can't be trusted: their tasks fail with that reason (P7), and a reset without a time heals
them. Other tables, and their tasks, go on.

A table may also change without a word in the log while it is published (`Source.watch`). Its log goes on, so nothing fails: its copies are
stale, and the tasks copy it again by themselves (decision 0013).

What was published, and what is lost or stale since which offset, is noted beside the journal, so that a restart does not forget.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import pyarrow as pa

from headwater.domain.changes import TRANSACTIONS_SCHEMA, Frame
from headwater.domain.errors import SourceError
from headwater.domain.tables import TableName
from headwater.engine.log import Log
from headwater.ports.journal import JournalWriter
from headwater.ports.source import Source

log = Log("headwater.capture")

T = TypeVar("T", int, str)


@dataclass(frozen=True)
class Known:
    """What is noted: names of the tables that were published; by lost and by stale table the offset from which on a copy may begin; by
    table the mark of the last look (see `Source.watch`) and that of its columns (see `reshaped.py`); and whose log was captured
    (`Log.history`). `following`: the tables whose changes the journal has from its end on, as it is whenever this is read."""

    published: frozenset[str] = frozenset()
    lost: tuple[tuple[str, int], ...] = ()
    stale: tuple[tuple[str, int], ...] = ()
    marks: tuple[tuple[str, str], ...] = ()
    history: str = ""
    shapes: tuple[tuple[str, str], ...] = ()
    following: frozenset[str] = frozenset()


class Note(Protocol):
    """Keeps `Known`, durably."""

    def read(self) -> Known:
        """As written last."""

    def write(self, known: Known) -> None:
        """Keep it."""


class MemoryNote:
    """A note that is forgotten with the process."""

    def __init__(self) -> None:
        self._known = Known()

    def read(self) -> Known:
        """See `Note.read`."""
        return self._known

    def write(self, known: Known) -> None:
        """See `Note.write`."""
        self._known = known


class FileNote:
    """A note beside a journal."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "tables.json"

    def read(self) -> Known:
        """See `Note.read`."""
        if not self._path.exists():
            return Known()
        held = json.loads(self._path.read_text())
        names = ("lost", "stale", "marks", "shapes")
        pairs = {name: tuple((table, value) for table, value in held.get(name, ())) for name in names}
        following = frozenset(held.get("following", ()))
        return Known(frozenset(held["published"]), **pairs, history=held.get("history", ""), following=following)

    def write(self, known: Known) -> None:
        """See `Note.write`."""
        sets = {"published": sorted(known.published), "following": sorted(known.following)}
        replace_durably(self._path, json.dumps({**asdict(known), **sets}))


class Followed:
    """The tables of one capture. `tables` are those that are there; `lost` those whose older copies are void, by offset; `stale` those
    that were changed outside of the log, likewise, and are copied again."""

    def __init__(self, source: Source, wanted: Sequence[TableName], writer: JournalWriter, note: Note, now_us: int) -> None:
        self._source, self._wanted, self._writer, self._note = source, tuple(wanted), writer, note
        self._now_us = now_us
        self.tables: tuple[TableName, ...] = ()
        self.lost: dict[str, int] = {}
        self.stale: dict[str, int] = {}

    def publish(self) -> None:
        """Have all wanted tables published that are there, and note which of them have been away, before that can't be seen any more."""
        known = self._note.read()
        there = self._source.describe(self._wanted)
        self.tables = tuple(table for table in self._wanted if table in there)
        had = [table for table in self._wanted if str(table) in known.published]
        away = [] if self._source.published(had) else [table for table in had if not self._source.published([table])]
        lost = {**dict(known.lost), **{str(table): self._writer.end().next_offset + 1 for table in away}}
        names = {str(table) for table in away}
        marks = tuple(pair for pair in known.marks if pair[0] not in names)
        self._keep(replace(known, published=known.published - names, lost=_sorted(lost), marks=marks, following=frozenset()))
        self._source.publish(self.tables)
        self._keep(replace(self._note.read(), published=known.published - names | {str(table) for table in self.tables}))
        self.lost = {name: offset for name, offset in lost.items() if name in {str(table) for table in self._wanted}}
        self._watch()

    def mark(self) -> None:
        """Take an offset in the journal for what is lost or stale, so that copies before and behind it differ. Called once the log is open:
        where it had to begin anew, the break has taken one. From here on copies may rely on the journal (decision 0023)."""
        self._keep(replace(self._note.read(), following=frozenset(map(str, self.tables))))
        end = self._writer.end()
        if end.next_offset >= max([*self.lost.values(), *self.stale.values()], default=0):
            return
        row = {"position": end.position or "", "commit_us": self._now_us, "seen_us": self._now_us, "rows": 0}
        marker = Frame(pa.RecordBatch.from_pylist([row], schema=TRANSACTIONS_SCHEMA), ())
        self._writer.append([marker], end.position or "", end.source_us or self._now_us)

    @property
    def history(self) -> str:
        """Whose log was captured; empty where that was never noted."""
        return self._note.read().history

    def belongs_to(self, history: str) -> None:
        """Note whose log is captured from now on, before anything of it is kept."""
        self._keep(replace(self._note.read(), history=history))

    def look(self) -> None:
        """Publish again where a table has left, or has come back; and note what was changed outside of the log."""
        gone = [table for table in self._wanted if table not in self.tables]
        if not self._source.published(self.tables) or (gone and self._source.describe(gone)):
            self.publish()
        else:
            self._watch()
        self.mark()

    def _watch(self) -> None:
        """Note the tables whose copies a change outside of the log has made stale.

        Raises:
            SourceError: `source_refused` where what was changed still keeps changes from us.
        """
        known = self._note.read()
        marks = dict(known.marks)
        watched = self._source.watch(self.tables, {table: marks[str(table)] for table in self.tables if str(table) in marks})
        findings = [one for one in self._source.check(self.tables) if one.stops] if watched.changed else []
        if findings:
            raise SourceError("The source was changed. " + " ".join(map(str, findings)), kind="source_refused")
        for table, reason in watched.changed.items():
            log.warning("table_stale", table=str(table), reason=reason)
        stale = {**dict(known.stale), **{str(table): self._writer.end().next_offset + 1 for table in watched.changed}}
        marks |= {str(table): mark for table, mark in watched.marks.items()}
        self._keep(replace(known, stale=_sorted(stale), marks=_sorted(marks)))
        self.stale = {name: offset for name, offset in stale.items() if name in {str(table) for table in self._wanted}}

    def _keep(self, known: Known) -> None:
        if known != self._note.read():
            self._note.write(known)


def _sorted(pairs: dict[str, T]) -> tuple[tuple[str, T], ...]:
    return tuple(sorted(pairs.items()))


def replace_durably(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    draft = path.with_name(path.name + ".new")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
