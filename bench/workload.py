"""W1: the workload of the table, and its sister over few keys; made inside the server, so that making it is quick.

W1 is 1,000,000 row changes in transactions of 100: 70 inserts, 20 updates, 10 deletes. Transaction *t* inserts ids 70t to 70t+69, updates
20 rows that transaction t-30 inserted and deletes 10 that transaction t-50 inserted; rows with negative ids stand in for those
before the first. The sister makes the same number of changes over 100,000 keys: 80 updates, 10 deletes, and the 10 rows back that the
transaction before it deleted.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql

ROWS_PER_TRANSACTION = 100
INSERTS_PER_TRANSACTION = 70
BEFORE = 50 * INSERTS_PER_TRANSACTION
FEW_KEYS = 100_000
COMMIT_EVERY = 1

TABLE = """
CREATE TABLE {} (
    id bigint PRIMARY KEY, number int, amount bigint, name varchar(60), price numeric(12,2), made timestamp, words text, open boolean
)
"""

FILL = """
INSERT INTO {}
SELECT i, (i * 7919) % 1000003, i * 104729, left(md5(i::text) || md5((-i)::text), 20 + (abs(i) % 41)::int), (abs(i) % 10000000) / 100.0,
       timestamp '2026-01-01' + i * interval '1.037 s', left(md5((i * 3)::text) || md5((i * 5)::text), 60), i % 3 = 0
  FROM generate_series({}::bigint, {}::bigint) AS i
"""

W1 = """
DO $$
BEGIN
    FOR t IN 0..%(last)s LOOP
        INSERT INTO {table}
        SELECT i, (i * 7919) %% 1000003, i * 104729, left(md5(i::text) || md5((-i)::text), 20 + (abs(i) %% 41)::int),
               (abs(i) %% 10000000) / 100.0, timestamp '2026-01-01' + i * interval '1.037 s',
               left(md5((i * 3)::text) || md5((i * 5)::text), 60), i %% 3 = 0
          FROM generate_series(t::bigint * 70, t::bigint * 70 + 69) AS i;
        UPDATE {table} SET price = price + 1, words = left(md5((t + id)::text) || md5(t::text), 60)
         WHERE id BETWEEN (t - 30)::bigint * 70 + 20 AND (t - 30)::bigint * 70 + 39;
        DELETE FROM {table} WHERE id BETWEEN (t - 50)::bigint * 70 AND (t - 50)::bigint * 70 + 9;
        COMMIT;
    END LOOP;
END $$
"""

FEW = """
DO $$
BEGIN
    FOR t IN 0..%(last)s LOOP
        UPDATE {table} SET price = price + 1, words = left(md5((t + id)::text) || md5(t::text), 60)
         WHERE id = ANY (ARRAY(SELECT (t::bigint * 7919 + j * 1237) %% 90000 FROM generate_series(0, 79) AS j));
        DELETE FROM {table} WHERE id = ANY (ARRAY(SELECT 90000 + (t::bigint * 10 + j) %% 10000 FROM generate_series(0, 9) AS j));
        INSERT INTO {table}
        SELECT i, t, i * 104729, left(md5(i::text) || md5((-i)::text), 20 + (abs(i) %% 41)::int), (abs(i) %% 10000000) / 100.0,
               timestamp '2026-01-01' + i * interval '1.037 s', left(md5((i * 3)::text) || md5((i * 5)::text), 60), i %% 3 = 0
          FROM (SELECT 90000 + ((t - 1)::bigint * 10 + j) %% 10000 AS i FROM generate_series(0, 9) AS j WHERE t > 0) AS k;
        COMMIT;
    END LOOP;
END $$
"""


def make_table(connection: psycopg.Connection[Any], name: str) -> None:
    """The table, empty."""
    connection.execute(sql.SQL(TABLE).format(sql.Identifier(name)))


def fill(connection: psycopg.Connection[Any], name: str, first: int, last: int) -> None:
    """Rows with these ids."""
    connection.execute(sql.SQL(FILL).format(sql.Identifier(name), first, last))


def _changes(connection: psycopg.Connection[Any], text: str, name: str, transactions: int) -> None:
    filled = text.replace("%(last)s", str(transactions - 1)).replace("%%", "%").replace("{table}", f'"{name}"')
    connection.execute(filled.encode())


def w1(connection: psycopg.Connection[Any], name: str, transactions: int) -> None:
    """The changes of W1. The table must hold ids from -BEFORE to -1."""
    _changes(connection, W1, name, transactions)


def few_keys(connection: psycopg.Connection[Any], name: str, transactions: int) -> None:
    """The changes over few keys. The table must hold ids from 0 to FEW_KEYS - 1."""
    _changes(connection, FEW, name, transactions)
