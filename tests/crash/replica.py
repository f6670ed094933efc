"""Two private servers of MariaDB or MySQL as primary and replica, joined by GTIDs; either may be killed and be made the other's replica."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from headwater.clusters import MysqlServer, PrivateMariadb

MARIADB: Mapping[str, str] = {"log_slave_updates": "ON"}
MYSQL: Mapping[str, str] = {"gtid_mode": "ON", "enforce_gtid_consistency": "ON"}
"""Settings of servers that may be either's replica."""

WAIT_S = 60
GAP = 1000


def is_mariadb(server: MysqlServer) -> bool:
    """Which flavour it is."""
    return isinstance(server, PrivateMariadb)


def run(server: MysqlServer, *statements: str) -> list[str]:
    """Run statements in one session; the first value of each answer, as text."""
    with server.connect() as session, session.cursor() as cursor:
        answers = []
        for statement in statements:
            cursor.execute(statement)
            row = cursor.fetchone() if cursor.description else None
            answers.append(str(row[0]) if row else "")
        return answers


def follow(replica: MysqlServer, primary: MysqlServer) -> None:
    """From now on the one gets what the other writes, from where it stands."""
    word = "MASTER" if is_mariadb(primary) else "SOURCE"
    who = {"HOST": f"'{primary.host}'", "PORT": primary.port, "USER": "'root'", "PASSWORD": f"'{primary.password}'"}
    where = ", ".join(f"{word}_{name} = {value}" for name, value in who.items())
    if is_mariadb(primary):
        run(replica, "SET GLOBAL gtid_slave_pos = @@GLOBAL.gtid_binlog_pos")
        run(replica, f"CHANGE MASTER TO {where}, MASTER_USE_GTID = slave_pos", "START SLAVE")
        return
    run(replica, f"CHANGE REPLICATION SOURCE TO {where}, SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1", "START REPLICA")


def stop_following(replica: MysqlServer) -> None:
    """It gets no more, and may be written to."""
    run(replica, *(["STOP SLAVE", "RESET SLAVE ALL"] if is_mariadb(replica) else ["STOP REPLICA", "RESET REPLICA ALL"]))


def caught_up(primary: MysqlServer, replica: MysqlServer) -> None:
    """Wait until the replica has all that the primary has written up to now."""
    (have,) = run(primary, f"SELECT @@GLOBAL.{'gtid_binlog_pos' if is_mariadb(primary) else 'gtid_executed'}")
    wait = "MASTER_GTID_WAIT" if is_mariadb(primary) else "WAIT_FOR_EXECUTED_GTID_SET"
    assert run(replica, f"SELECT {wait}('{have}', {WAIT_S})") == ["0"], f"the replica lacks some of {have}"


@contextmanager
def frozen(server: MysqlServer) -> Iterator[None]:
    """Nobody commits there meanwhile; the server may be killed in it."""
    session = server.connect()
    session.query("FLUSH TABLES WITH READ LOCK")
    yield
    session.close()


def leave_gaps(server: MysqlServer, table: str) -> None:
    """Change a table under GTIDs that are far ahead, and (MySQL only, where that is no error) between those and the others."""
    change = f"UPDATE {table} SET id = id"
    if is_mariadb(server):
        number = int(run(server, "SELECT @@GLOBAL.gtid_binlog_pos")[0].rpartition("-")[2])
        run(server, f"SET gtid_seq_no = {number + GAP}", f"INSERT INTO {table} VALUES (1)", f"SET gtid_seq_no = {number + 2 * GAP}", change)
        run(server, f"INSERT INTO {table} VALUES (2)")
        return
    (own,) = run(server, "SELECT @@server_uuid")
    for row, number in enumerate((10 * GAP, 5 * GAP, 7 * GAP)):
        run(server, f"SET gtid_next = '{own}:{number}'", f"INSERT INTO {table} VALUES ({row})", "SET gtid_next = 'AUTOMATIC'")
