"""Sends the values of the matrix through the whole chain, by every way that leads to a table, and compares both sides in the databases.

Every kind is a column of a *wide* table, its arrays another one, its values are rows. Kinds that can be keys have tables of their own too,
alone and with a second column. Wide rows come by copy, and through the log as inserts and updates, few and in bulk; keys are copied,
inserted, changed and deleted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from headwater.domain.mapping import ColumnPair
from headwater.ports.store import Mapping
from tests.databases import Database, wait_until
from tests.integration.world import World
from tests.types.matrix import ARRAY_KEYS, EXTENSIONS, SETTINGS, SETUP, Kind, array_of, kinds

TASK = "types"
WIDTH = 24
"""Columns of a wide table: few enough that any row fits into a page."""
BULK = 120
"""Rows of a bulk: more than the target writes one by one."""
PAIRED = frozenset({"text", "numeric", "character(4)", "integer[]", "public.mood", "public.few", 'public."Pair, of"', "public.citext"})
"""Kinds that are also tried as part of a key of two columns."""
WAYS = ("copied", "inserted", "updated", "inserted in bulk", "updated in bulk")
STEP = 1000
"""Ids of way number w begin at w * STEP."""


@dataclass(frozen=True)
class Column:
    """A column of a wide table: a type and its values by class."""

    name: str
    type: str
    values: dict[str, str]

    def label(self, row: int) -> str:
        """The class of the value in a row."""
        return list(self.values)[row % len(self.values)]


@dataclass(frozen=True)
class Wide:
    """A table of many types. Row `rows - 1` is empty, but for columns that must not be."""

    name: str
    columns: tuple[Column, ...]

    @property
    def rows(self) -> int:
        """How many rows it takes to show every value, and one without any."""
        return max(len(c.values) for c in self.columns) + 1

    def values(self, row: int) -> list[str | None]:
        """What the columns hold in a row."""
        empty = row == self.rows - 1
        return [None if empty and c.type != "public.price_now" else c.values[c.label(row)] for c in self.columns]


@contextmanager
def session(database: Database) -> Iterator[psycopg.Connection[Any]]:
    """A session with the tests' own settings."""
    with database.connect(autocommit=False) as connection:
        for name, value in SETTINGS.items():
            connection.execute("SELECT set_config(%s, %s, false)", (name, value))
        connection.commit()
        yield connection


def run(connection: psycopg.Connection[Any], *statements: str) -> None:
    """Run statements in one transaction."""
    for statement in statements:
        connection.execute(statement.encode())
    connection.commit()


def set_up(database: Database) -> frozenset[str]:
    """Make the own types; returns the extensions that are there, and `libxml`."""
    with database.connect() as connection:
        there = {name for (name,) in connection.execute("SELECT name FROM pg_available_extensions")}
        installed = there.intersection(EXTENSIONS)
        for name in installed:
            connection.execute(sql.SQL("CREATE EXTENSION {}").format(sql.Identifier(name)))
        for statement in SETUP:
            connection.execute(statement.encode())
        try:
            connection.execute("SELECT '<a/>'::xml")
        except psycopg.errors.FeatureNotSupported:
            return frozenset(installed)
    return frozenset(installed | {"libxml"})


def major(database: Database) -> int:
    """The server's major version."""
    return database.cluster.installation.version[0]


class Chain:
    """The matrix between the two databases of a world."""

    def __init__(self, world: World, keys: Callable[[Kind], bool]) -> None:
        self.world = world
        self.source, self.target = world.source, world.target
        version = min(major(self.source), major(self.target))
        found = list(kinds(version, set_up(self.source) & set_up(self.target)))
        self.wide = _wide(found, version)
        self.keyed = _keyed([kind for kind in found if keys(kind)], version)
        self.paired = [name for name, (type_, _) in self.keyed.items() if type_ in PAIRED]

    def create(self) -> None:
        """Make all tables on both sides, fill them at the source, and map them."""
        statements = ["CREATE TABLE public.mark (id integer PRIMARY KEY)"]
        for wide in self.wide:
            columns = ", ".join(f"{c.name} {c.type}" for c in wide.columns)
            statements.append(f"CREATE TABLE public.{wide.name} (id integer PRIMARY KEY, {columns})")
        for name, (type_, _) in self.keyed.items():
            statements.append(f"CREATE TABLE public.{name} (id {type_} PRIMARY KEY, n integer)")
        statements += [f"CREATE TABLE public.two_{name} (id {self.keyed[name][0]}, n integer, PRIMARY KEY (n, id))" for name in self.paired]
        for database in (self.source, self.target):
            with database.connect(autocommit=False) as connection:
                run(connection, *statements)
        self.world.add_task(TASK, ["mark", *(wide.name for wide in self.wide), *self.keyed])
        for name in self.paired:
            self._map_pair(f"public.two_{name}")
        with session(self.source) as connection:
            self._fill(connection)

    def change(self) -> None:
        """Do at the source what brings every value through the log by every way."""
        with session(self.source) as connection:
            for wide in self.wide:
                names = ", ".join(c.name for c in wide.columns)
                sets = ", ".join(f"{c.name} = o.{c.name}" for c in wide.columns)
                for way, count in ((1, wide.rows), (3, BULK)):
                    rows = f"generate_series(0, {count - 1}) i JOIN public.{wide.name} o ON o.id = i % {wide.rows}"
                    run(connection, f"INSERT INTO public.{wide.name} (id, {names}) SELECT i + {way * STEP}, {names} FROM {rows}")
                for way in (2, 4):
                    which = f"t.id / {STEP} = {way} AND o.id = t.id % {STEP} % {wide.rows}"
                    run(connection, f"UPDATE public.{wide.name} t SET {sets} FROM public.{wide.name} o WHERE {which}")
            for name, (_, values) in self.keyed.items():
                self._change_keys(connection, name, values)
            for name in self.paired:
                _change_pairs(connection, name)

    def await_applied(self, mark: int) -> None:
        """Wait until everything before this is in the target; fails with the task's message where it has failed."""
        self.source.run(f"INSERT INTO public.mark VALUES ({mark})")

        def arrived() -> bool:
            task = self.world.store.task(TASK)
            assert task is not None
            assert task.state not in ("failed", "retrying"), f"{task.error_kind}: {task.message}"
            return bool(self.target.rows(f"SELECT FROM public.mark WHERE id = {mark}"))

        wait_until(arrived, 240, "everything is applied")

    def differences(self) -> list[str]:
        """Type, class and way of each value that is not the same on both sides."""
        found: list[str] = []
        with session(self.source) as here, session(self.target) as there:
            for wide in self.wide:
                found += _wide_differences(wide, _dump(here, wide.name), _dump(there, wide.name))
            for table in (*self.keyed, *(f"two_{name}" for name in self.paired)):
                ours, theirs = _dump(here, table), _dump(there, table)
                if ours != theirs or not ours:
                    type_, _ = self.keyed[table.removeprefix("two_")]
                    found.append(
                        f"{type_} as key ({table}): only at the source {_few(ours - theirs)}, only at the target {_few(theirs - ours)}"
                    )
        return found

    def _map_pair(self, table: str) -> None:
        pairs = (ColumnPair("id", "id", True), ColumnPair("n", "n", True))
        self.world.store.save_mapping(Mapping(f"{TASK}-{table}", TASK, table, table, pairs, (), (), (), "MANUAL", 100, 0))

    def _fill(self, connection: psycopg.Connection[Any]) -> None:
        """Rows to copy, and rows without values to be updated."""
        for wide in self.wide:
            names = [c.name for c in wide.columns]
            for row in range(wide.rows):
                _insert(connection, wide.name, ["id", *names], [str(row), *wide.values(row)])
            for way, count in ((2, wide.rows), (4, BULK)):
                rows = f"generate_series(0, {count - 1}) i JOIN public.{wide.name} o ON o.id = {wide.rows - 1}"
                listed = ", ".join(names)
                run(connection, f"INSERT INTO public.{wide.name} (id, {listed}) SELECT i + {way * STEP}, {listed} FROM {rows}")
        for name, (_, values) in self.keyed.items():
            for place, value in enumerate(values[::2]):
                _insert(connection, name, ["id", "n"], [value, str(place)])
        for name in self.paired:
            connection.execute(f"INSERT INTO public.two_{name} SELECT id, n FROM public.{name}".encode())
        connection.commit()

    def _change_keys(self, connection: psycopg.Connection[Any], name: str, values: Sequence[str]) -> None:
        for place, value in enumerate(values[1::2]):
            _insert(connection, name, ["id", "n"], [value, str(place + 100)])
        connection.commit()
        run(connection, f"UPDATE public.{name} SET n = n + 1000")
        if len(values) > 1:
            connection.execute(f"DELETE FROM public.{name} WHERE n = 1000".encode())
            connection.execute(f"UPDATE public.{name} SET id = %s, n = 5 WHERE n = 1100".encode(), [values[0]])
        connection.commit()


def _change_pairs(connection: psycopg.Connection[Any], name: str) -> None:
    """Rows in bulk, of which most are deleted in bulk and one alone."""
    run(connection, f"INSERT INTO public.two_{name} SELECT id, i FROM public.{name}, generate_series({STEP}, {STEP + BULK}) i")
    run(connection, f"DELETE FROM public.two_{name} WHERE n BETWEEN {STEP + 2} AND {STEP + BULK - 2}")
    run(connection, f"DELETE FROM public.two_{name} WHERE n = {STEP + BULK}")


def _wide(found: Sequence[Kind], version: int) -> list[Wide]:
    columns = []
    for number, kind in enumerate(found):
        columns.append(Column(f"s{number}", kind.type, kind.values_of(version)))
        if kind.array:
            columns.append(Column(f"a{number}", f"{kind.type}[]", array_of(kind, version)))
    return [Wide(f"wide_{at // WIDTH}", tuple(columns[at : at + WIDTH])) for at in range(0, len(columns), WIDTH)]


def _keyed(found: Sequence[Kind], version: int) -> dict[str, tuple[str, list[str]]]:
    """Table -> type and values of its key."""
    tables = {f"key_{i}": (kind.type, list(kind.values_of(version, key=True).values())) for i, kind in enumerate(found) if kind.key}
    for number, kind in enumerate(found):
        if kind.type in ARRAY_KEYS:
            arrays = array_of(Kind(kind.type, kind.values_of(version, key=True)), version)
            tables[f"arrays_{number}"] = (f"{kind.type}[]", list(arrays.values()))
    return tables


def _insert(connection: psycopg.Connection[Any], table: str, columns: Sequence[str], values: Sequence[str | None]) -> None:
    statement = f"INSERT INTO public.{table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(values))})"
    connection.execute(statement.encode(), values)


def _dump(connection: psycopg.Connection[Any], table: str) -> set[bytes]:
    """The rows in text form, under the settings of the session."""
    with connection.cursor().copy(f"COPY public.{table} TO STDOUT".encode()) as copy:
        return set(b"".join(bytes(part) for part in copy).splitlines())


def _wide_differences(wide: Wide, here: set[bytes], there: set[bytes]) -> Iterator[str]:
    ours, theirs = ({int(line.split(b"\t")[0]): line.split(b"\t")[1:] for line in rows} for rows in (here, there))
    if not ours or set(ours) != set(theirs):
        yield f"{wide.name}: rows {set(ours) ^ set(theirs) or 'are missing'}"
    for id_ in sorted(set(ours) & set(theirs)):
        for column, mine, other in zip(wide.columns, ours[id_], theirs[id_], strict=True):
            if mine != other:
                row = id_ % STEP % wide.rows
                label = "null" if row == wide.rows - 1 else column.label(row)
                yield f"{column.type}, {label}, {WAYS[id_ // STEP]}: {mine[:80]!r} became {other[:80]!r}"


def _few(rows: set[bytes]) -> str:
    return str([row[:80] for row in sorted(rows)[:3]])
