"""Golden bytes: a short history as servers of several versions have written it, kept in `golden/`, one file for each, one event a line.

`python -m tests.wire.golden` writes the files anew, from MariaDB and MySQL as far as they are here (`headwater.clusters.fetch_servers`).
"""

from __future__ import annotations

import sys
from pathlib import Path

from headwater.clusters import MysqlServer, PrivateMariadb, PrivateMysql, find_mariadb, find_mysql
from tests import binlogs

HOME = Path(__file__).parent / "golden"
CHARSETS = {46: "utf8mb4", 47: "latin1", 63: "binary"}
"""Of the table's columns, by the numbers of their collations."""

TABLE = """
CREATE TABLE g (id BIGINT UNSIGNED PRIMARY KEY, a INT, d DECIMAL(20,5), f FLOAT, e DOUBLE, v VARCHAR(300),
    l VARCHAR(30) CHARACTER SET latin1 COLLATE latin1_bin, y VARBINARY(20), n BIT(10),
    dd DATE, t DATETIME(6), z TIMESTAMP(3) NULL, tt TIME(2), yr YEAR,
    en ENUM('red', 'green'), s SET('a', 'b', 'c')) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin
"""

HISTORY = (
    ("INSERT INTO g VALUES (18446744073709551615, -5, -12345.67890, 1.5, 0.1, 'Grüße \U0001f600', 'déjà', x'00ff5c09', b'1000000001',"
    " '2024-02-29', '2024-02-29 23:59:59.999999', '2024-02-29 12:00:00.125', '-99:59:59.25', 1999, 'green', 'a,c'), (2, NULL, NULL, NULL,"
    " NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"),
    "UPDATE g SET v = 'ha', a = 7 WHERE id = 2",
    "UPDATE g SET id = 3 WHERE id = 2",
    "BEGIN",
    "INSERT INTO g (id, v) VALUES (4, REPEAT('long ', 50))",
    "DELETE FROM g WHERE id = 3",
    "COMMIT",
    "ALTER TABLE g DROP COLUMN yr",
    "XA START 'x'", "INSERT INTO g (id, dd) VALUES (5, '2024-01-31')", "XA END 'x'", "XA PREPARE 'x'", "XA COMMIT 'x'",
    "TRUNCATE g",
)  # fmt: skip

COMPRESSED = "INSERT INTO g (id, v) VALUES (6, REPEAT('short ', 40))"


def load(path: Path) -> list[bytes]:
    """The events of a file."""
    return [bytes.fromhex(line) for line in path.read_text().splitlines()]


def record(server: MysqlServer) -> str:
    """A file's text."""
    with server.connect() as session, session.cursor() as cursor:
        cursor.execute("CREATE DATABASE golden CHARACTER SET utf8mb4")
    zone = "SET time_zone = '+00:00'"
    found = binlogs.recorded(server, HISTORY, "golden", [TABLE, zone])
    squeeze = "SET GLOBAL log_bin_compress = ON" if server.product == "MariaDB" else "SET binlog_transaction_compression = ON"
    squeezed = binlogs.recorded(server, [COMPRESSED], "golden", [squeeze])
    return "".join(event.hex() + "\n" for event in [*found, *squeezed])


def main() -> int:
    """Record from each server that is here."""
    HOME.mkdir(exist_ok=True)
    for server in (*(PrivateMariadb(found) for found in find_mariadb()), *(PrivateMysql(found) for found in find_mysql())):
        with server:
            (HOME / f"{server.installation.name}.txt").write_text(record(server))
            sys.stdout.write(f"{server.installation.name}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
