"""Changes of one table kept aside, and shown with one commit: for what the table's own constraints don't let through step by step.

An overlay lies over its table: `rows` holds rows as they are to stand, `gone` keys that are to go. For a key that is in `rows` that row
counts, for one that is in `gone` alone there is none, for any other what stands in the table. So an overlay may begin at any moment, and
takes every step that a table takes: a value that was not sent is fetched from the table when it is needed (`_bring`). It has no
constraints but its key, so rows of any moment may meet in it.

Shown is the difference to the table, for all tables that foreign keys join in *one statement*: PostgreSQL looks at foreign keys when a
statement ends, so that rings of them hold and `ON DELETE` finds nothing left to do. See docs/decisions/0015.
"""

# ruff: noqa: S608  every name is quoted by `quote`

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import psycopg
import pyarrow as pa

from headwater.domain.errors import RowRefused
from headwater.domain.mapping import TableMapping
from headwater.domain.merge import MergeStep, Move
from headwater.targets.postgres.catalog import TableInfo
from headwater.targets.postgres.session import Connection
from headwater.targets.postgres.statements import PARAMETER, Statements, column_list, differing, final, quote
from headwater.targets.postgres.table_writer import TableWriter, Tally


@dataclass(frozen=True)
class Place:
    """Where an overlay is kept. `number` None: in temporary tables, for one transaction. `copied`: it began with a copy; with `whole` what
    the copy does not hold is to go."""

    number: int | None = None
    copied: bool = False
    whole: bool = False


class Overlay:
    """The overlay of one mapping. Its tables have to be there (`create`). Errors of the driver pass through."""

    def __init__(
        self, connection: Connection, mapping: TableMapping, info: TableInfo, target: Statements, number: int,
        staged: dict[str, bool], place: Place,
    ) -> None:  # fmt: skip
        self.mapping, self.info, self.place = mapping, info, place
        self._connection, self._target = connection, target
        schema, suffix = ("pg_temp", f"over_{number}") if place.number is None else ("headwater", str(place.number))
        self.rows, self.gone = quote(schema, f"rows_{suffix}"), quote(schema, f"gone_{suffix}")
        self._sql = Statements(mapping, info, number, instead=self.rows)
        self.writer = TableWriter(connection, self._sql, staged, truncates=False, exact=True)

    def create(self) -> None:
        """Make its tables, empty; temporary ones may be there already."""
        head, tail = ("CREATE TEMP TABLE IF NOT EXISTS", "ON COMMIT DELETE ROWS") if self.place.number is None else ("CREATE TABLE", "")
        for table, columns in ((self.rows, self._target.columns), (self.gone, self._target.key_names)):
            selected = f"SELECT {column_list(columns)} FROM {self._target.own} WITH NO DATA"
            self._connection.execute(f"{head} {table} {tail} AS {selected}".encode())
            index = quote(table.rpartition(".")[2].strip('"') + "_key")
            self._connection.execute(
                f"CREATE UNIQUE INDEX IF NOT EXISTS {index} ON {table} ({column_list(self._target.key_names)})".encode()
            )

    def empty(self) -> None:
        """Remove what it holds."""
        self._connection.execute(f"TRUNCATE {self.rows}, {self.gone}".encode())

    def drop(self) -> None:
        """Remove its tables."""
        self._connection.execute(f"DROP TABLE {self.rows}, {self.gone}".encode())

    def gather(self, steps: Sequence[MergeStep], tally: Tally) -> None:
        """Take steps in, in order.

        Raises RowRefused where two keys of the source are one to the target."""
        for step in steps:
            if step.truncate:
                tally.deleted.append(self._connection.execute(f"DELETE FROM {self.rows}".encode()))
                self._connection.execute(self._all_gone)
            if step.deletes is not None:
                tally.deleted.append(self._remove(step.deletes))
            for move in step.moves:
                self._move(move, tally)
            for rows in (step.inserts, step.upserts):
                if rows is not None:
                    self._put(rows, tally)
            for rows in step.partials:
                self._update(rows, tally)

    def _remove(self, keys: pa.RecordBatch) -> object:
        self.writer.stage_keys(keys)
        self._connection.execute(self._sql.delete_staged)
        return self._connection.execute(self._staged_gone)

    def _put(self, rows: pa.RecordBatch, tally: Tally) -> None:
        if not self._target.literal_key:
            self.writer.stage_rows(rows)
            self._refuse(self._connection.execute(self._twice).fetchone())
        self.writer.put(MergeStep(upserts=rows), tally)

    def _update(self, rows: pa.RecordBatch, tally: Tally) -> None:
        self.writer.stage_rows(rows)
        if not self.place.whole:
            self._connection.execute(self._bring_staged)
        tally.updated.append(self._connection.execute(self._sql.update_staged(tuple(rows.schema.names), False)))

    def _move(self, move: Move, tally: Tally) -> None:
        new = tuple(move.values[name] for name in self._target.key_names)
        for key in (move.old_key, new):
            if not self.place.whole:
                self._connection.execute(self._bring, {f"k{i}": value for i, value in enumerate(key)})
        self.writer.put(MergeStep(moves=(move,)), tally)
        self._connection.execute(self._one_gone, list(move.old_key))

    def _refuse(self, found: object) -> None:
        if found is not None:
            raise RowRefused(
                f"Two rows of {self.mapping.source} have keys that are one and the same to {self.mapping.target} "
                f"({', '.join(self._target.key_names)}), so one would take the other's place. Give the target's key a type or collation "
                "that tells them apart."
            )

    # What it does to its tables.

    @cached_property
    def _keys(self) -> str:
        return column_list(self._target.key_names)

    @cached_property
    def _all_gone(self) -> bytes:
        return f"INSERT INTO {self.gone} ({self._keys}) SELECT {self._keys} FROM {self._target.own} ON CONFLICT DO NOTHING".encode()

    @cached_property
    def _staged_gone(self) -> bytes:
        return f"INSERT INTO {self.gone} ({self._keys}) SELECT {self._keys} FROM pg_temp.{self._sql.keys} ON CONFLICT DO NOTHING".encode()

    @cached_property
    def _one_gone(self) -> bytes:
        values = ", ".join(PARAMETER for _ in self._target.key_names)
        return final(f"INSERT INTO {self.gone} ({self._keys}) VALUES ({values}) ON CONFLICT DO NOTHING")

    @cached_property
    def _bring(self) -> bytes:
        """Fetch the row of a key from the table, unless the overlay knows better. Parameters k0, k1, ..."""
        return final(self._fetch("", self._target.key_is("k%d")))

    @cached_property
    def _bring_staged(self) -> bytes:
        """The same for all staged rows."""
        return self._fetch(f"JOIN pg_temp.{self._sql.rows} AS s ON {self._target.meets('t', 's')}", "true").encode()

    def _fetch(self, join: str, condition: str) -> str:
        standing = f"NOT EXISTS (SELECT FROM {self.gone} AS g WHERE {self._target.meets('t', 'g')})"
        return (
            f"INSERT INTO {self.rows} ({column_list(self._target.columns)}) SELECT {column_list(self._target.columns, 't')} "
            f"FROM {self._target.own} AS t {join} WHERE {condition} AND {standing} ON CONFLICT DO NOTHING"
        )

    @cached_property
    def _twice(self) -> bytes:
        """One row where a key is staged twice, or stands in the overlay with another spelling."""
        staged = f"pg_temp.{self._sql.rows}"
        other = f"{self.rows} AS r JOIN {staged} AS s ON {self._target.meets('r', 's')} WHERE {self._spelt_differently('r', 's')}"
        return f"(SELECT 1 FROM {staged} GROUP BY {self._keys} HAVING count(*) > 1) UNION ALL (SELECT 1 FROM {other}) LIMIT 1".encode()

    def _spelt_differently(self, one: str, other: str) -> str:
        return differing(self._target.key_names, one, other)

    # How it is shown.

    def check(self) -> None:
        """Before it is shown: raises RowRefused where a row would take the place of one with another key.

        A row that has been there under another spelling of the same key has its old spelling in `gone`."""
        if self._target.literal_key or self.place.copied:
            return
        standing = f"NOT EXISTS (SELECT FROM {self.gone} AS g WHERE {self._target.meets('t', 'g')})"
        pairs = f"{self.rows} AS r JOIN {self._target.own} AS t ON {self._target.meets('t', 'r')}"
        query = f"SELECT 1 FROM {pairs} WHERE {self._spelt_differently('t', 'r')} AND {standing} LIMIT 1"
        self._refuse(self._connection.execute(query.encode()).fetchone())

    def pass_on(self) -> None:
        """Before it is shown: let values of further unique constraints go to the rows that are to have them, in whatever order lets them.

        For a table whose rows can't be deleted and inserted anew. Where values go in a circle, columns that may be NULL are NULL first.
        What still collides then collides when it is shown."""
        columns = [name for name in self._target.values_of(self._target.columns) if name in self.info.unique_columns]
        if not columns:
            return
        pairs = f"{self._target.own} AS t JOIN {self.rows} AS s ON {self._target.meets('t', 's')}"
        query = f"SELECT s.ctid::text FROM {pairs} WHERE {self._target.differs('t', 's', columns)}"
        waiting, before = [row[0] for row in self._connection.execute(query.encode())], 0
        assignments = self._target.assignments("s", columns)
        while waiting and len(waiting) != before:
            before, waiting = len(waiting), self._assign(assignments, waiting)
        may_be_null = {column.name for column in self.info.columns if column.nullable}
        nothing = ", ".join(f"{quote(name)} = NULL" for name in columns if name in may_be_null)
        if waiting and nothing:
            self._assign(nothing, waiting)

    def _assign(self, assignments: str, rows: list[str]) -> list[str]:
        """Update the table from these rows of the overlay; those that collide come back."""
        update = f"UPDATE {self._target.own} AS t SET {assignments} FROM {self.rows} AS s WHERE {self._target.meets('t', 's')}"
        try:
            with self._connection.transaction():
                self._connection.execute(final(f"{update} AND s.ctid = ANY ({PARAMETER}::tid[])"), [rows])
        except psycopg.errors.IntegrityError:
            half = len(rows) // 2
            return [*self._assign(assignments, rows[:half]), *self._assign(assignments, rows[half:])] if half else rows
        return []

    def analyze(self) -> None:
        """Tell the planner how large it is."""
        self._connection.execute(f"ANALYZE {self.rows}, {self.gone}".encode())

    def parts(self, number: int, *, replacing: bool) -> list[str]:
        """The parts of a WITH that turn the table into what is to be seen.

        `replacing`: rows that change are deleted and inserted anew, with what the table's other columns hold, so that values of a further
        unique constraint can change hands."""
        gone, taken, put, changed, new = (f"{name}_{number}" for name in ("gone", "taken", "put", "changed", "new"))
        sql, columns = self._target, column_list(self._target.columns)
        found = [f"{gone} AS (DELETE FROM {sql.own} AS t {self._missing} RETURNING 1)"]
        has_values = bool(sql.values_of(sql.columns))
        if has_values and replacing:
            kept = column_list((*sql.key_names, *sql.unmapped), "t")
            values = ", ".join([column_list(sql.columns, "s"), *(quote("k", name) for name in sql.unmapped)])
            found.append(f"{taken} AS (DELETE FROM {sql.own} AS t USING {self.rows} AS s WHERE {self._changed} RETURNING {kept})")
            found.append(
                f"{put} AS (INSERT INTO {sql.table} ({column_list((*sql.columns, *sql.unmapped))}) OVERRIDING SYSTEM VALUE SELECT {values} "
                f"FROM {self.rows} AS s JOIN {taken} AS k ON {sql.meets('k', 's')} WHERE {_after(gone)})"
            )
        elif has_values:
            wait = f" AND {_after(gone)}" if self.info.further_unique else ""
            assignments = sql.assignments("s", sql.columns)
            found.append(
                f"{changed} AS (UPDATE {sql.own} AS t SET {assignments} FROM {self.rows} AS s WHERE {self._changed}{wait} RETURNING 1)"
            )
        before = [gone, *([taken if replacing else changed] if has_values else [])]
        wait = "".join(f" AND {_after(one)}" for one in before) if self.info.further_unique else ""
        absent = f"NOT EXISTS (SELECT FROM {sql.own} AS t WHERE {sql.meets('t', 's')})"
        found.append(
            f"{new} AS (INSERT INTO {sql.table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} "
            f"FROM {self.rows} AS s WHERE {absent}{wait})"
        )
        return found

    @cached_property
    def _changed(self) -> str:
        return f"{self._target.meets('t', 's')} AND {self._target.differs('t', 's', self._target.columns)}"

    @cached_property
    def _missing(self) -> str:
        absent = f"NOT EXISTS (SELECT FROM {self.rows} AS s WHERE {self._target.meets('t', 's')})"
        return f"WHERE {absent}" if self.place.whole else f"USING {self.gone} AS g WHERE {self._target.meets('t', 'g')} AND {absent}"


def _after(part: str) -> str:
    """A condition that holds, once a part has run: in one statement they run in no order of their own."""
    return f"(SELECT count(*) FROM {part}) >= 0"


def show(connection: Connection, overlays: Sequence[Overlay], replaced: Sequence[Overlay] = ()) -> None:
    """Make the tables of a group what their overlays say, in one statement."""
    parts = [part for number, one in enumerate(overlays) for part in one.parts(number, replacing=one in replaced)]
    connection.execute(f"WITH {', '.join(parts)} SELECT".encode(), prepare=False)
