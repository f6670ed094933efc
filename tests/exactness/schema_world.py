"""A capture and a task per table, in this process, over two real servers: what a change of a table's schema does to each.

Tables begin empty on both sides and every task at the beginning of the journal, so nothing needs a first copy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic

from headwater import adapters
from headwater.domain.errors import HeadwaterError
from headwater.domain.fitting import by_name, fit
from headwater.domain.mapping import TableMapping
from headwater.domain.tables import TableName
from headwater.domain.types import compatible
from headwater.engine.apply import ApplyJob, apply
from headwater.engine.capture import CaptureJob, capture
from headwater.engine.control import Control, SystemClock
from headwater.engine.followed import FileNote
from headwater.journal import open_reader, open_writer
from headwater.ports.runtime import ApplyReport, CaptureReport
from headwater.ports.target import Checkpoint, CopyState, TableState
from tests.databases import AnyDatabase, D, wait_until
from tests.integration.world import EVERYTHING, RETENTION, data_source


@dataclass
class SchemaWorld(Generic[D]):
    """See the module. `mappings` by table name; the task of a table has the table's name."""

    directory: Path
    source: D
    target: AnyDatabase
    mappings: dict[str, TableMapping] = field(default_factory=dict)
    epochs: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.read = adapters.source_of(data_source("source", self.source))
        self.written = adapters.target_of(data_source("target", self.target))
        self.note = FileNote(self.directory)

    def fitted(self, name: str, pairs: Sequence[tuple[str, str]] = (), source: str | None = None) -> TableMapping:
        """The mapping of a table as the service makes it now."""
        table, read = TableName(self.target.schema, name), TableName.parse(source or name, self.source.schema)
        here, there = self.read.describe([read])[read], self.written.describe([table])[table]
        made = fit(here, there, pairs or by_name(here, there), compatible)
        assert not made.problems, made.problems
        return TableMapping(name, read, table, made.columns, EVERYTHING)

    def begin(self, names: Sequence[str]) -> None:
        """Map the tables by name and publish them."""
        self.mappings = {name: self.fitted(name) for name in names}
        self.read.publish(sorted(m.source for m in self.mappings.values()))

    def begin_tasks(self) -> None:
        """All tasks stand at the beginning of the journal, with their (empty) tables copied."""
        with closing(open_reader(self.directory)) as reader:
            place = Checkpoint(1, reader.end().journal_id, 0, 0)
        for name in self.mappings:
            self.written.raise_epoch(name, 1)
            with closing(self.written.open(name, 1)) as run:
                run.commit(place)
                run.save_table_state(TableState(name, CopyState.COPIED))
            self.epochs[name] = 1

    @contextmanager
    def capturing(self) -> Iterator[Control]:
        """Follow the source for the body of the `with`."""
        control = Control()
        failed: list[BaseException] = []

        def run() -> None:
            try:
                with closing(open_writer(self.directory)) as writer, closing(open_reader(self.directory)) as reader:
                    tables = sorted({m.source for m in self.mappings.values()})
                    capture(CaptureJob(self.read, tables, writer, reader, RETENTION, note=self.note), control, SystemClock())
            except BaseException as error:  # noqa: BLE001 - raised below
                failed.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            wait_until(lambda: failed or (isinstance(control.report, CaptureReport) and control.report.state == "capturing"))
            yield control
            assert not failed, failed
        finally:
            control.tell({"stop": True})
            thread.join(30)
        assert not failed, failed

    def captured(self) -> None:
        """Wait until the journal has all that is committed at the source now."""
        with closing(self.read.compare(30.0)) as asking:
            end = asking.position()
        with closing(open_reader(self.directory)) as reader:
            wait_until(lambda: (at := reader.end().position) is not None and self.read.reached(at, end), what="all is captured")

    def run(self, name: str, timeout_s: float = 30.0) -> tuple[str, int]:
        """Let one task run until it fails, whose message comes back, or follows (empty); and its offset (-1: it has no place)."""
        self.epochs[name] += 1
        control, said = Control(), ""
        with closing(open_reader(self.directory)) as reader:
            end = reader.end().next_offset

        def ended() -> bool:
            report = control.report
            return isinstance(report, ApplyReport) and report.state == "following" and (report.offset or 0) >= end

        job = ApplyJob(name, self.epochs[name], [self.mappings[name]], self.read, self.written, lambda: open_reader(self.directory), 1)
        watch = threading.Thread(target=_stop_when, args=(control, ended, time.monotonic() + timeout_s))
        watch.start()
        try:
            apply(job, control, SystemClock())
        except HeadwaterError as error:
            said = f"{error.kind}: {error}"
        finally:
            control.tell({"stop": True})
            watch.join()
        place, _ = self.written.look(name)
        return said, -1 if place.offset is None else place.offset

    def copied_again(self, mapping: TableMapping) -> TableMapping:
        """The mapping under its next incarnation."""
        return replace(mapping, mapping_id=f"{mapping.mapping_id}.{self.epochs[mapping.target.name]}")

    def reset(self, name: str, offset: int) -> None:
        """Send a task back."""
        self.epochs[name] += 1
        self.written.raise_epoch(name, self.epochs[name], Checkpoint(self.epochs[name], offset=offset))

    def differences(self, name: str) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
        """The mapped columns' rows on both sides, as text."""
        mapping = self.mappings[name]
        return (
            _all_rows(self.source, mapping.source, [pair.source for pair in mapping.columns]),
            _all_rows(self.target, mapping.target, [pair.target for pair in mapping.columns]),
        )


def _all_rows(database: AnyDatabase, table: TableName, columns: Sequence[str]) -> list[tuple[object, ...]]:
    found = database.rows(f"SELECT {', '.join(columns)} FROM {table}")
    return sorted((tuple(None if value is None else str(value) for value in row) for row in found), key=repr)


def _stop_when(control: Control, ended: Callable[[], bool], deadline: float) -> None:
    while not control.stopping and time.monotonic() < deadline:
        if ended():
            break
        time.sleep(0.01)
    control.tell({"stop": True})
