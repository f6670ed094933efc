"""Repairs: an apply writes some rows again as the source has them, between two of its batches.

A verification finds differing rows, but only the apply of a task ever writes to its target: one writer, so that a repair can't
come between a batch and its commit, and never leaves an older row than apply wrote. The apply stands at its checkpoint then. It reads
the rows at the source, waits until the journal holds everything that the source had committed by that time, and leaves out each row that
any transaction after the checkpoint touches. What remains has been the same at the source from the checkpoint until now, so it is
exactly what the target should hold at the checkpoint. Rows and checkpoint are committed under the run's epoch like any batch.

A repair that can't be done changes nothing and stops nobody: the verification asks again, and says in the end what still differs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing

import pyarrow as pa

from headwater.domain.comparing import PLAIN
from headwater.domain.errors import DirtyLimit, Fenced, HeadwaterError, TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable, MergeStep
from headwater.engine.control import Clock, Control
from headwater.engine.dirty import At, DirtyRows
from headwater.engine.log import Log
from headwater.engine.touched import touched
from headwater.ports.compare import Key, Part
from headwater.ports.journal import JournalReader
from headwater.ports.runtime import RepairAsk
from headwater.ports.source import Source
from headwater.ports.target import Checkpoint, TargetRun

CAPTURED_S = 3.0
"""How long the apply waits for the journal in one repair."""

POLL_S = 0.02
STATEMENT_S = 10.0

Row = tuple[bytes | None, ...]

log = Log("headwater.repair")


class Repairer:
    """Carries out the newest wish that came over the worker's line. Belongs to the thread that writes."""

    def __init__(
        self,
        mappings: Sequence[TableMapping],
        source: Source,
        run: TargetRun,
        reader: JournalReader,
        control: Control,
        clock: Clock,
        dirty: DirtyRows,
    ) -> None:
        self._dirty = dirty
        self._mappings = {m.mapping_id: m for m in mappings}
        self._source, self._run, self._reader, self._control, self._clock = source, run, reader, control, clock
        self._done: RepairAsk | None = None

    def step(self, place: Checkpoint, commit: Callable[[Checkpoint], None]) -> None:
        """Repair what is newly asked for. Nothing may be written and not committed; `commit` commits the run at `place`.

        Raises:
            Fenced: a newer epoch holds the task.
        """
        ask = self._control.repair
        if ask is None or ask == self._done:
            return
        self._done = ask
        mapping = self._mappings.get(ask.mapping_id)
        if mapping is None or not mapping.key:
            return
        try:
            step = self._made(mapping, ask.keys, place)
            if step is not None:
                assert place.offset is not None
                self._dirty.write([MergedTable(mapping, (step,))], At(place.offset, place.offset, position=place.position))
                commit(place)
        except Fenced:
            raise
        except HeadwaterError as error:
            if isinstance(error, TargetError | DirtyLimit):
                self._run.rollback()
                self._dirty.load(place)
            log.warning("repair_failed", mapping=ask.mapping_id, kind=error.kind, message=str(error))

    def _made(self, mapping: TableMapping, keys: Sequence[Key], place: Checkpoint) -> MergeStep | None:
        """What makes the rows with these keys right at `place`; None where nothing can be said now."""
        part = Part(mapping.source, tuple((pair.source, PLAIN) for pair in mapping.columns), tuple(pair.source for pair in mapping.key))
        with closing(self._source.compare(STATEMENT_S)) as session:
            rows = session.values(part, keys)
            position = session.position()
        if not self._captured(position):
            return None
        at = [part.columns.index((name, PLAIN)) for name in part.key]
        found = {tuple((row[i] or b"").decode() for i in at): row for row in rows}
        asked = set(keys)
        if not found.keys() <= asked:  # a key has another text than the one that was asked for: which is gone can't be told
            asked &= found.keys()
        assert place.offset is not None
        moving = touched(self._reader, place.offset, part.table, part.key, asked, lambda: self._control.stopping)
        kept = [row for key, row in found.items() if key in asked - moving]
        gone = list(asked - found.keys() - moving) if "DELETE" in mapping.operations else []
        return _step(mapping, kept, gone)

    def _captured(self, position: str) -> bool:
        deadline = self._clock.monotonic() + CAPTURED_S
        while (end := self._reader.end().position) is None or not self._source.reached(end, position):
            if self._clock.monotonic() >= deadline or self._control.pause(POLL_S):
                return False
        return True


def _step(mapping: TableMapping, rows: Sequence[Row], gone: Sequence[Key]) -> MergeStep | None:
    names = [pair.target for pair in mapping.columns]
    written = _batch(names, rows)
    deletes = _batch([pair.target for pair in mapping.key], [tuple(value.encode() for value in key) for key in gone])
    if "INSERT" in mapping.operations:
        step = MergeStep(deletes=deletes, upserts=written)
    else:
        step = MergeStep(deletes=deletes, partials=() if written is None else (written,))
    return None if step.empty else step


def _batch(names: Sequence[str], rows: Sequence[Row]) -> pa.RecordBatch | None:
    columns = [pa.array([row[i] for row in rows], pa.binary()) for i in range(len(names))]
    return pa.RecordBatch.from_arrays(columns, names=list(names)) if rows else None
