"""Writing merged changes of all tables, inside the transaction of the run.

Where everything is small (live following) it goes in one round trip, straight into the tables: deletes from children before parents,
then rows of parents before children. What the tables' own constraints don't let through that way is laid aside (`overlay.py`) and
shown by the commit:

* Where the target is settled, as the source was, the whole write that collided: a row that changes its parent before the old one goes, a
  ring of foreign keys, two rows that swap a value of a further unique constraint. It is shown at the end of the source's transaction.
* Where it is not (a replay, or after a copy that was interrupted), rows are of different moments, and foreign keys can't hold. Tables
  that they join are laid aside until the target is settled again, others from their first collision on.

What would do harm without colliding never goes straight: deletes at which a foreign key takes rows of other tables along, and keys
of which two may be one to the target.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial

import psycopg
from psycopg.pq import TransactionStatus

from headwater.domain.errors import RowRefused, TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergedTable
from headwater.domain.tables import TableName
from headwater.ports.target import CopyState, Written
from headwater.targets.postgres import checkpoints, overlays
from headwater.targets.postgres.books import Book
from headwater.targets.postgres.catalog import ForeignKey, TableInfo, foreign_keys, parents_first, read_tables
from headwater.targets.postgres.overlay import Overlay, Place, show
from headwater.targets.postgres.session import Connection
from headwater.targets.postgres.shared_writer import SharedWriter
from headwater.targets.postgres.statements import Statements
from headwater.targets.postgres.table_writer import TableWriter, Tally, is_small
from headwater.targets.records import no_key, no_table

UNIQUE = (psycopg.errors.UniqueViolation, psycopg.errors.ExclusionViolation)
COLLISIONS = (*UNIQUE, psycopg.errors.ForeignKeyViolation)

_BULK_PLANS = (b"SET LOCAL enable_hashjoin = on", b"SET LOCAL enable_seqscan = on", b"SET LOCAL work_mem = '64MB'")


class Writer:
    """Writes for one task on one connection. Errors of the driver pass through. `replica`: foreign keys are not in force for us."""

    def __init__(self, connection: Connection, task_id: str, mappings: Iterable[TableMapping], *, replica: bool) -> None:
        self._connection, self._task_id, self._replica = connection, task_id, replica
        self._mappings = {m.mapping_id: m for m in mappings}
        self._info: dict[TableName, TableInfo] = {}
        self._keys: Sequence[ForeignKey] = ()
        self._order: dict[TableName, int] = {}
        self._statements: dict[TableMapping, Statements] = {}
        self._staged: dict[str, bool] = {}
        self._noted: dict[str, Overlay] | None = None  # overlays in tables of ours; None: not read in this transaction yet
        self._temporary: dict[str, Overlay] = {}  # overlays of one transaction; in use where `_staged` says that they hold rows

    @property
    def known(self) -> Mapping[TableName, TableInfo]:
        """The tables as this writer has learnt them."""
        return self._info

    def write(self, merged: Sequence[MergedTable], *, settled: bool) -> Written:
        """Write all steps. `settled`: the target is, before this transaction, what the source was at one moment.

        Raises TargetError (`target_refused`) where a table is missing or lacks a unique index on the mapped key."""
        merged = [one for one in merged if one.steps]
        if not merged:
            return Written()
        self.learn(one.mapping for one in merged)
        tally = Tally()
        straight = [one for one in merged if not self._aside(one, settled=settled)]
        written = self._straight(straight, settled=settled) if straight else Written()
        if written is None and any(one.mapping.beside or not one.mapping.key for one in straight):
            # these can't be laid aside, the others can
            straight = [one for one in straight if one.mapping.beside or not one.mapping.key]
            written = self._straight(straight, settled=settled)
        aside = merged if written is None else [one for one in merged if one not in straight]
        for one in aside:
            self._overlay(one.mapping, settled=settled).gather(one.steps, tally)
        laid = tally.written()
        straightly = written or Written()
        return Written(straightly.inserted + laid.inserted, straightly.updated + laid.updated, straightly.deleted + laid.deleted)

    def passing(self) -> list[Overlay]:
        """What this transaction has laid aside, which its commit has to show."""
        return [one for one in self._temporary.values() if self._staged.get(one.rows)]

    def check(self) -> None:
        """Have everything that is written take effect, and the constraints looked at that wait for the commit."""
        laid = self.passing()
        self._connection.execute("SET CONSTRAINTS ALL DEFERRED")
        for group in self._groups(laid):
            self._show(group)
        for one in laid:
            one.empty()
            self._staged[one.rows] = False
        self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self._connection.execute("SET CONSTRAINTS ALL DEFERRED")

    def show(self) -> bool:
        """Make the tables what the overlays say; True where some were noted. The caller commits, after `shown`."""
        self._connection.execute("SET CONSTRAINTS ALL DEFERRED")
        noted = list(self._read_notes().values())
        for statement in _BULK_PLANS if noted else ():
            self._connection.execute(statement)
        for one in noted:
            one.analyze()
        for group in self._groups([*noted, *self.passing()]):
            self._show(group)
        return bool(noted)

    def shown(self) -> None:
        """Take away what was noted and is shown. Called with the checkpoint's lock held, so that no reset meets it half done."""
        noted = self._read_notes()
        overlays.forget(self._connection, self._task_id, sorted(noted))
        for one in noted.values():
            one.drop()

    def committed(self) -> None:
        """The transaction was committed: temporary tables stay, and are empty."""
        self._staged.update(dict.fromkeys(self._staged, False))
        self._noted = None

    def staged(self) -> Collection[str]:
        """The temporary tables that are there now, for `rolled_back` to a savepoint."""
        return tuple(self._staged)

    def rolled_back(self, staged: Collection[str] = ()) -> None:
        """The transaction was given up: temporary tables made in it are gone, and it may be any of them. Rolled back to a savepoint those
        of before are still there, perhaps with rows."""
        self._staged.clear()
        self._staged.update(dict.fromkeys(staged, True))
        self._noted = None

    def learn(self, mappings: Iterable[TableMapping] = ()) -> None:
        """Read the catalogue for the task's tables, where it was not read yet."""
        self._mappings |= {m.mapping_id: m for m in mappings}
        wanted = {m.target for m in self._mappings.values()}
        if wanted <= self._info.keys():
            return
        idle = self._connection.info.transaction_status == TransactionStatus.IDLE
        self._info = read_tables(self._connection, sorted(wanted))
        self._keys = () if self._replica else foreign_keys(self._connection, list(self._info.values()))
        self._order = {table: place for place, table in enumerate(parents_first(list(self._info), self._keys))}
        if idle:
            self._connection.commit()

    def table(self, mapping: TableMapping, *, exact: bool) -> TableWriter:
        """The writer of one mapping, whose table `learn` knows."""
        info, statements = self._known(mapping)
        if mapping.beside:
            return SharedWriter(self._connection, statements, self._staged, mapping, self.book(mapping), exact=exact)
        truncates = "TRUNCATE" in info.privileges and not info.referenced
        return TableWriter(self._connection, statements, self._staged, truncates=truncates, exact=exact)

    def book(self, mapping: TableMapping) -> Book:
        """The book of a mapping with others beside it, whose table `learn` knows."""
        return Book(self._task_id, mapping, self.statements(mapping))

    def statements(self, mapping: TableMapping) -> Statements:
        """The statements of one mapping, whose table `learn` knows."""
        return self._known(mapping)[1]

    # Laying aside.

    def noted(self, mapping: TableMapping) -> Overlay | None:
        """The mapping's overlay in tables of ours, as the notes say now."""
        place = overlays.read(self._connection, self._task_id).get(mapping.mapping_id)
        return None if place is None else self._at(mapping, place)

    def note(self, mapping: TableMapping, *, copied: bool, whole: bool) -> bool:
        """Begin an overlay in tables of ours; False where there is one."""
        place = overlays.note(self._connection, self._task_id, mapping.mapping_id, copied=copied, whole=whole)
        if place is not None:
            self._at(mapping, place).create()
        self._noted = None
        return place is not None

    def check_notes(self, mapping: TableMapping) -> None:
        """Before rows of a copy that were written by `write` count as copied.

        Raises TargetError (tried again) where the mapping's copy goes aside by now."""
        if mapping.mapping_id in overlays.read(self._connection, self._task_id).keys() - self._read_notes().keys():
            raise TargetError(f"The copy of {mapping.target} has begun again. It is tried again.")

    def _copied_now(self, merged: Sequence[MergedTable]) -> bool:
        """Whether some table is in the middle of its copy. A copy that collides begins again as a whole (`chunks.py`)."""
        copying = checkpoints.states(self._connection, self._task_id)
        return any(m in copying and copying[m].state is CopyState.COPYING for m in (one.mapping.mapping_id for one in merged))

    def must_wait(self, mapping: TableMapping, *, empty: bool = False) -> bool:
        """Whether rows of different moments can't stand in the mapping's table: it goes aside until the target is settled.

        `empty`: it is about a copy into an empty table, where two keys that are one collide by themselves."""
        joined = any(mapping.target == key.parent or (mapping.target == key.child and key.parent is not None) for key in self._keys)
        return bool(mapping.key) and not mapping.beside and (joined or not (empty or self.statements(mapping).literal_key))

    def _aside(self, one: MergedTable, *, settled: bool) -> bool:
        """Whether changes go aside without an attempt to write them straight."""
        if not one.mapping.key or one.mapping.beside:
            return False
        if not settled:
            return one.mapping.mapping_id in self._read_notes() or self.must_wait(one.mapping)
        removing = any(step.truncate or step.deletes is not None or step.moves for step in one.steps)
        harmful = removing and one.mapping.target in self._taking_along
        return harmful or not self.statements(one.mapping).literal_key or any(one.mapping == laid.mapping for laid in self.passing())

    @property
    def _taking_along(self) -> set[TableName | None]:
        return {key.parent for key in self._keys if key.takes_along}

    def _overlay(self, mapping: TableMapping, *, settled: bool) -> Overlay:
        if not mapping.key or mapping.beside:
            what = "is filled by several mappings" if mapping.key else "is mapped without a key"
            raise RowRefused(f"Rows of {mapping.target}, which {what}, break a constraint of the target. Remove the constraint there.")
        if not settled:
            if mapping.mapping_id not in self._read_notes():
                self.note(mapping, copied=False, whole=False)
            return self._read_notes()[mapping.mapping_id]
        overlay = self._temporary.setdefault(mapping.mapping_id, self._at(mapping, Place()))
        if overlay.rows not in self._staged:
            overlay.create()
        self._staged[overlay.rows] = True
        return overlay

    def _read_notes(self) -> dict[str, Overlay]:
        """The overlays in tables of ours, by mapping id. Nobody else makes one while this run writes."""
        if self._noted is None:
            places = overlays.read(self._connection, self._task_id)
            self.learn()
            self._noted = {i: self._at(self._mappings[i], place) for i, place in places.items() if i in self._mappings}
        return self._noted

    def _at(self, mapping: TableMapping, place: Place) -> Overlay:
        info, statements = self._known(mapping)
        number = list(self._statements).index(mapping)
        return Overlay(self._connection, mapping, info, statements, number, self._staged, place)

    def _known(self, mapping: TableMapping) -> tuple[TableInfo, Statements]:
        info = self._info.get(mapping.target)
        if info is None:
            raise no_table(mapping)
        if mapping not in self._statements:
            names = [pair.target for pair in mapping.key]
            if names and info.key_on(names) is None:
                raise no_key(mapping, names)
            self._statements[mapping] = Statements(mapping, info, len(self._statements))
        return info, self._statements[mapping]

    # Writing straight.

    def _straight(self, merged: Sequence[MergedTable], *, settled: bool) -> Written | None:
        """Write into the tables; None, with nothing written, where that collides with a constraint."""
        alone = self._connection.info.transaction_status == TransactionStatus.IDLE
        staged = () if alone else self.staged()
        if not alone:
            self._connection.execute("SAVEPOINT headwater_write")
        try:
            written = self._write(merged)
            if not settled and any(self._info[one.mapping.target].deferrable for one in merged):
                self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
            return written
        except COLLISIONS:
            if alone:
                self._connection.rollback()
            else:
                self._connection.execute("ROLLBACK TO SAVEPOINT headwater_write")
            self.rolled_back(staged)
            if not settled and self._copied_now(merged):
                raise
            return None

    def _write(self, merged: Sequence[MergedTable]) -> Written:
        tables = sorted(merged, key=lambda one: self._order.get(one.mapping.target, 0))
        writers = [(self.table(one.mapping, exact=one.exact), one.steps) for one in tables]
        small = all(is_small(step, keyed=bool(one.mapping.key)) and not one.mapping.beside for one in merged for step in one.steps)
        tally = Tally()
        with self._connection.pipeline() if small else nullcontext():
            for level in range(max(len(one.steps) for one in merged)):
                now = [(writer, steps[level]) for writer, steps in writers if level < len(steps)]
                removing: list[Callable[[], None]] = [partial(writer.remove, step, tally) for writer, step in reversed(now)]
                putting: list[Callable[[], None]] = [partial(writer.put, step, tally) for writer, step in now]
                for act in removing + putting:
                    act()
        return tally.written()

    # Showing.

    def _groups(self, laid: Sequence[Overlay]) -> Iterator[list[Overlay]]:
        """Overlays whose tables foreign keys join, together; those of one table never."""
        group_of: dict[TableName, set[TableName]] = {one.mapping.target: {one.mapping.target} for one in laid}
        for key in self._keys:
            if key.child in group_of and key.parent in group_of:
                joined = group_of[key.child] | group_of[key.parent]
                group_of |= dict.fromkeys(joined, joined)
        for tables in {id(group): group for group in group_of.values()}.values():
            rest = [one for one in laid if one.mapping.target in tables]
            while rest:
                group = list({one.mapping.target: one for one in rest}.values())
                rest = [one for one in rest if one not in group]
                yield group

    def _show(self, group: list[Overlay]) -> None:
        for one in group:
            one.check()
        unique = [one for one in group if one.info.further_unique]
        self._connection.execute("SAVEPOINT headwater_show")
        try:
            show(self._connection, group)
            return
        except UNIQUE:
            if not unique:
                raise
        self._connection.execute("ROLLBACK TO SAVEPOINT headwater_show")
        held = {key.parent for key in self._keys if not key.patient}
        for one in unique:
            if one.mapping.target in held:
                one.pass_on()
        show(self._connection, group, [one for one in unique if one.mapping.target not in held])
