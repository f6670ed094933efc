"""What real servers tell of columns in their table maps, held against the catalogue: it is told by place among the columns of a kind."""

from __future__ import annotations

from headwater.wire import binlog
from headwater.wire.binlog import TablePlan
from headwater.wire.binlog_events import TableMap
from tests import binlogs
from tests.databases import MysqlDatabase

KINDS = (
    "int unsigned", "bit(3)", "year", "float", "tinyint", "decimal(5,2) unsigned", "year", "int", "double unsigned", "bigint unsigned",
    "point", "varchar(3) character set latin1", "geometry", "char(3) character set ucs2", "enum('a') character set latin1", "binary(3)",
    "set('x') character set gbk", "blob", "json", "text character set sjis", "linestring", "varchar(3) character set utf32",
)  # fmt: skip


def test_signs_and_character_sets_belong_to_their_columns(mysql_database: MysqlDatabase) -> None:
    database = mysql_database
    columns = ", ".join(f"c{i} {kind}" for i, kind in enumerate(KINDS))
    database.run(f"CREATE TABLE t (id int PRIMARY KEY, {columns})")
    found: list[TableMap] = []

    def plan(table: TableMap) -> TablePlan | None:
        found.append(table)
        return None

    binlogs.read(binlog, binlogs.recorded(database.cluster, ["INSERT INTO t (id) VALUES (1)"], database.name), plan)
    charsets = binlogs.collations(database.cluster)
    query = "SELECT column_name, column_type, character_set_name FROM information_schema.columns WHERE table_schema = '{}'"
    today = {name: (str(kind), charset) for name, kind, charset in database.rows(query.format(database.name))}
    (table,) = found
    for column in table.columns:
        kind, charset = today[column.name or ""]
        if column.unsigned is not None:
            assert column.unsigned == ("unsigned" in kind or "year" in kind), (column.name, kind)
        if column.collation is not None:
            assert charsets[column.collation] == (charset or "binary"), (column.name, kind)
