"""The spelling of `Column.base`, from what real servers tell of their columns."""

from __future__ import annotations

from headwater.dialects.mysql_types import base
from tests.databases import MysqlDatabase

COLUMNS = {
    "tinyint(1)": "tinyint(1)",
    "tinyint(4)": "tinyint",
    "tinyint(1) unsigned": "tinyint unsigned",
    "int(10) unsigned zerofill": "int unsigned",
    "int zerofill": "int unsigned",
    "bigint": "bigint",
    "boolean": "tinyint(1)",
    "decimal": "decimal(10,0)",
    "decimal(65,30) unsigned": "decimal(65,30) unsigned",
    "decimal(5,2) zerofill": "decimal(5,2) unsigned",
    "float(7,4)": "float",
    "double unsigned": "double unsigned",
    "bit": "bit(1)",
    "bit(64)": "bit(64)",
    "year": "year",
    "datetime(6)": "datetime(6)",
    "timestamp NULL": "timestamp",
    "time(3)": "time(3)",
    "varchar(20) CHARACTER SET latin1": "varchar(20) latin1",
    "national char(3)": "char(3) utf8mb3",
    "char(3) CHARACTER SET binary": "binary(3)",
    "longtext CHARACTER SET gbk": "longtext gbk",
    "mediumblob": "mediumblob",
    "enum('a','B''b, c','/* x */')": "enum('a','B''b, c','/* x */') utf8mb4",
    "set('x','Y') CHARACTER SET latin1": "set('x','Y') latin1",
    "point": "point",
    "json": "json",
}
MARIADB_ONLY = {"uuid": "uuid", "inet6": "inet6", "inet4": "inet4", "text COMPRESSED": "text utf8mb4"}

CATALOGUE = """
SELECT c.column_type, c.character_set_name,
       EXISTS (SELECT 1 FROM information_schema.check_constraints k
                WHERE k.constraint_schema = c.table_schema {of_table} AND k.check_clause = CONCAT('json_valid(`', c.column_name, '`)'))
  FROM information_schema.columns c WHERE c.table_schema = DATABASE() ORDER BY c.ordinal_position
"""


def test_types_are_spelled_alike_whatever_the_server_says(mysql_database: MysqlDatabase) -> None:
    mariadb = mysql_database.cluster.installation.flavour == "mariadb"
    columns = {**COLUMNS, **(MARIADB_ONLY if mariadb else {})}
    mysql_database.run(f"CREATE TABLE t ({', '.join(f'c{n} {kind}' for n, kind in enumerate(columns))})")
    found = mysql_database.rows(CATALOGUE.format(of_table="AND k.table_name = c.table_name" if mariadb else ""))
    spelled = [base(kind.decode() if isinstance(kind, bytes) else kind, charset, json=bool(json)) for kind, charset, json in found]
    assert dict(zip(columns, spelled, strict=True)) == {kind: f"mysql:{common}" for kind, common in columns.items()}
