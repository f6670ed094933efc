"""The tables that capture follows, and those that it has lost: dropped at the source, or dropped and made anew under their name.

A table that is dropped leaves the publication, and nobody but us adds one to it. So a table that we had published and that is
published no more was gone in between, and what happened to it then is in no log. It is followed again where it is there again, but
copies that are older than the loss can't be trusted: their tasks fail with that reason (P7), and a reset without a time heals
them. Other tables, and their tasks, go on.

What was published and what is lost since which offset is noted beside the journal, so that a restart does not forget.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from headwater.domain.changes import TRANSACTIONS_SCHEMA, Frame
from headwater.domain.tables import TableName
from headwater.ports.journal import JournalWriter
from headwater.ports.source import Source


@dataclass(frozen=True)
class Known:
    """What is noted: names of the tables that were published, and by lost table the offset from which on a copy may begin."""

    published: frozenset[str] = frozenset()
    lost: tuple[tuple[str, int], ...] = ()


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
        return Known(frozenset(held["published"]), tuple((name, offset) for name, offset in held["lost"]))

    def write(self, known: Known) -> None:
        """See `Note.write`."""
        replace_durably(self._path, json.dumps({"published": sorted(known.published), "lost": known.lost}))


class Followed:
    """The tables of one capture. `tables` are those that are there, `lost` those whose older copies are void, by offset."""

    def __init__(self, source: Source, wanted: Sequence[TableName], writer: JournalWriter, note: Note, now_us: int) -> None:
        self._source, self._wanted, self._writer, self._note = source, tuple(wanted), writer, note
        self._now_us = now_us
        self.tables: tuple[TableName, ...] = ()
        self.lost: dict[str, int] = {}

    def publish(self) -> None:
        """Have all wanted tables published that are there, and note which of them have been away, before that can't be seen any more."""
        known = self._note.read()
        there = self._source.describe(self._wanted)
        self.tables = tuple(table for table in self._wanted if table in there)
        had = [table for table in self._wanted if str(table) in known.published]
        away = [] if self._source.published(had) else [table for table in had if not self._source.published([table])]
        lost = {**dict(known.lost), **{str(table): self._writer.end().next_offset + 1 for table in away}}
        published = known.published - {str(table) for table in away}
        self._keep(Known(published, tuple(sorted(lost.items()))))
        self._source.publish(self.tables)
        self._keep(Known(published | {str(table) for table in self.tables}, tuple(sorted(lost.items()))))
        self.lost = {name: offset for name, offset in lost.items() if name in {str(table) for table in self._wanted}}

    def mark(self) -> None:
        """Take an offset in the journal for a loss, so that copies before and behind it differ. Called once the log is open: where it
        had to begin anew, the break has taken one."""
        end = self._writer.end()
        if end.next_offset >= max(self.lost.values(), default=0):
            return
        row = {"position": end.position or "", "commit_us": self._now_us, "seen_us": self._now_us, "rows": 0}
        marker = Frame(pa.RecordBatch.from_pylist([row], schema=TRANSACTIONS_SCHEMA), ())
        self._writer.append([marker], end.position or "", end.source_us or self._now_us)

    def look(self) -> None:
        """Publish again where a table has left, or has come back."""
        gone = [table for table in self._wanted if table not in self.tables]
        if not self._source.published(self.tables) or (gone and self._source.describe(gone)):
            self.publish()
            self.mark()

    def _keep(self, known: Known) -> None:
        if known != self._note.read():
            self._note.write(known)


def replace_durably(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    draft = path.with_name(path.name + ".new")
    with draft.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
