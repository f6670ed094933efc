"""P8 at a MariaDB or MySQL target: every value of every type that `compatible` lets into a column arrives with its meaning, or is refused;
by each way into a table, and the same by each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pytest

from headwater.dialects.mysql_forms import Field, text
from headwater.dialects.mysql_session import Server, quote
from headwater.domain.comparing import PLAIN
from headwater.domain.errors import RowRefused
from headwater.domain.kinds import kind_of
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.merge import MergedTable, MergeStep
from headwater.domain.tables import TableName
from headwater.domain.types import compatible
from headwater.ports.source import Chunk
from headwater.ports.target import TargetRun
from headwater.targets.mysql import MysqlTarget, staging
from headwater.targets.text_rows import copy_rows
from tests.databases import MysqlDatabase
from tests.types.mysql_matrix import KINDS, MysqlKind
from tests.types.test_mysql_pairs import same

FROM_POSTGRES = {
    "boolean": ("t", "f"),
    "smallint": ("-32768", "32767"),
    "integer": ("70", "2026", "-1"),
    "bigint": ("9223372036854775807", "-9223372036854775808"),
    "numeric": ("1.5", "NaN", "Infinity", "0.0000000000000000000000000000000000000001", "1" + "0" * 40, "-0.10"),
    "numeric(12,2)": ("9999999999.99", "-0.01"),
    "numeric(5,-2)": ("1200",),
    "real": ("0.1", "NaN", "-Infinity", "1e-45", "3.4028235e+38"),
    "double precision": ("0.1", "NaN", "Infinity", "5e-324", "1.7976931348623157e+308"),
    "text": (
        "a",
        "A",
        "2",
        "1",
        "",
        " blanks ",
        "\\x41",
        "a,b",
        "b,a",
        "\f\v\t\n\r\b\\N\x00"[:-1],
        "ж€\U0001f600",
        "{}",
        '{"a": 1}',
        "{bad",
    ),
    "character varying(3)": ("a  ",),
    "bytea": ("\\x", "\\x00", "\\x0a5c095c4e00ff"),
    "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",),
    "json": ('{"b":1,"a":2}',),
    "date": ("2026-02-28", "infinity", "0044-03-15 BC", "10000-01-01", "0001-01-01"),
    "timestamp without time zone": (
        "2026-03-29 02:30:00.123456",
        "infinity",
        "0044-03-15 00:00:00 BC",
        "294276-12-31 23:59:59",
        "2040-01-01 00:00:00",
    ),
    "timestamp with time zone": ("2026-03-29 02:30:00.1+00", "-infinity", "0044-03-15 00:00:00+00 BC", "10000-01-01 00:00:00+00"),
    "time without time zone": ("24:00:00", "00:00:00.000001"),
    "interval": ("1 day", "00:00:01", "-838:59:59", "1 mon", "3 days 04:05:06"),
    "bit(3)": ("101",),
    "bit(1)": ("1",),
    "inet": ("10.0.0.1", "10.0.0.0/8", "::1"),
    "enum": ("a", "B'b", "1", "2"),
}
"""Values of PostgreSQL's types as they travel."""

TRUTH = str.maketrans("tf", "10")
SOME = 4
"""Of the values that are refused one way, so many are tried the others."""


@dataclass(frozen=True)
class Sent:
    """A value on its way, and of which types it may be."""

    value: str
    types: tuple[str, ...]


def values_for(target: str) -> list[Sent]:
    """All values that may come to a column of this type."""
    found: dict[str, list[str]] = {}
    sources = [(kind.base, tuple(kind.values.values())) for kind in KINDS] + list(FROM_POSTGRES.items())
    for source, values in sources:
        if compatible(source, target) is None:
            for value in values:
                found.setdefault(value, []).append(source)
    return [Sent(value, tuple(types)) for value, types in found.items()]


class Column:
    """A table of one column of a kind, and ways into it."""

    def __init__(self, database: MysqlDatabase, run: TargetRun, kind: MysqlKind, number: int) -> None:
        self.database, self._run = database, run
        self.table = TableName(database.name, f"t{number}")
        declared, _, charset = kind.type.rpartition(" ") if kind_of(kind.base).form in ("text", "enum", "set") else (kind.type, "", "")
        more = f" CHARACTER SET {charset}" if charset else ""
        database.run(f"CREATE TABLE {self.table.name} (id int PRIMARY KEY, v {declared}{more} NULL)")
        pairs = (ColumnPair("id", "id", True), ColumnPair("v", "v"))
        self._mapping = TableMapping(f"m{number}", self.table, self.table, pairs, frozenset({"INSERT", "UPDATE", "DELETE"}))
        self._field = Field("v", declared, declared.partition("(")[0].partition(" ")[0], charset)

    def write(self, rows: pa.RecordBatch) -> None:
        """By staging."""
        with self._run.tentatively():
            self._run.write([MergedTable(self._mapping, (MergeStep(upserts=rows),), exact=True)])

    def insert(self, rows: pa.RecordBatch) -> None:
        """Straight."""
        with self._run.tentatively():
            self._run.write([MergedTable(self._mapping, (MergeStep(inserts=rows),), exact=True)])

    def copy(self, rows: pa.RecordBatch) -> None:
        """As the first copy does."""
        chunk = Chunk(int(rows.column(0)[0].as_py()), None, None)
        self._run.copy_chunk(self._mapping, chunk, [b"".join(map(bytes, copy_rows(rows)))], fresh=True, remove=False)

    def clear(self) -> None:
        """Leave nothing."""
        self._run.rollback()
        self.database.run(f"DELETE FROM {self.table.name}", "DELETE FROM headwater_chunk_done")

    def found(self) -> dict[int, str]:
        """What stands there, in the form in which values travel."""
        connection = self._run._main.connection  # type: ignore[attr-defined]  # within the open transaction
        rows = connection.ask(f"SELECT id, {text(self._field, PLAIN, 'v')} FROM {quote(self.table.schema, self.table.name)}")
        return {int(i): v.decode() if isinstance(v, bytes) else str(v) for i, v in rows}


def batch(sent: Sequence[tuple[int, Sent]]) -> pa.RecordBatch:
    ids = pa.array([str(i).encode() for i, _ in sent], pa.binary())
    return pa.record_batch([ids, pa.array([one.value.encode() for _, one in sent], pa.binary())], names=["id", "v"])


def refused(sent: Sequence[tuple[int, Sent]], write: Callable[[pa.RecordBatch], None]) -> Iterator[int]:
    """Write what is taken; the numbers of the others."""
    try:
        write(batch(sent))
    except RowRefused:
        half = len(sent) // 2
        if not half:
            yield sent[0][0]
            return
        yield from refused(sent[:half], write)
        yield from refused(sent[half:], write)


def changed(column: Column, target: str, taken: Sequence[tuple[int, Sent]]) -> Iterator[str]:
    """What is another value now; takes all away."""
    there = column.found()
    assert there.keys() == {i for i, _ in taken}
    for i, one in taken:
        for source in one.types:
            if not means_the_same(source, target, one.value, there[i]):
                yield f"{source} to {target}: {one.value[:40]!r} became {there[i][:40]!r}"
    column.clear()


def means_the_same(source: str, target: str, sent: str, there: str) -> bool:
    goal = kind_of(target).form
    if goal == "bits":
        return int(sent.translate(TRUTH), 2) == int(there, 2)
    return same(kind_of(source), target, sent, there) or (goal == "set" and set(sent.split(",")) == set(there.split(",")))


def test_every_value_arrives_or_is_refused_p8(mysql_database: MysqlDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = mysql_database.cluster
    target = MysqlTarget(Server(cluster.host, cluster.port, mysql_database.name, cluster.user, cluster.password))
    target.raise_epoch("types", 1)
    run = target.open("types", 1)
    wrong: list[str] = []
    flavour = "mariadb" if "maria" in type(cluster).__name__.lower() else "mysql"
    for number, kind in enumerate(KINDS):
        if kind.only not in ("", flavour):
            continue
        sent = list(enumerate(values_for(kind.base)))
        column = Column(mysql_database, run, kind, number)
        monkeypatch.setattr(staging, "SMALL_ROWS", 10**6)
        out = set(refused(sent, column.insert))
        taken, left = [one for one in sent if one[0] not in out], [one for one in sent if one[0] in out]
        wrong += changed(column, kind.base, taken)
        for way in (column.insert, column.write, column.copy):
            monkeypatch.setattr(staging, "SMALL_ROWS", 0)
            for one in left[:SOME]:
                with pytest.raises(RowRefused):
                    way(batch([one]))
            column.clear()
            way(batch(taken))
            wrong += changed(column, kind.base, taken)
    run.close()
    assert wrong == []
