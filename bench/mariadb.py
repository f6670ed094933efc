"""MariaDB as a source and as a target: capture, backlogs between the kinds, and the first copy, against what comes with MariaDB."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import backlog, decoding, workload
from bench.capture import prepare as prepare_postgres
from bench.mariadb_servers import Pair
from bench.measure import Figures, Row, compared, until
from bench.options import Options
from bench.servers import Servers
from bench.workers import Pipeline, slot_name

TABLE = "backlog"
COPIED = "copied"
Place = tuple[str, int]

DEBEZIUM, DEBEZIUM_ROWS_PER_S = "Debezium's MariaDB connector 3.0.7, reading only, measured once", 112_000.0
MYSQL_REPLICATION, MYSQL_REPLICATION_ROWS_PER_S = "mysql-replication, reading only, measured once", 6_100.0
"""Rates of others on W1 and two cores, from when this work was planned: neither is installed here."""


def capture(_: Servers, options: Options) -> list[Row]:
    """Capture into the journal, durable: in the form that is installed against `mariadb-binlog --raw` into memory, and uncompiled against
    what others were measured with; and the decoder alone, by its processor time."""
    transactions = options.of(10_000)
    rows = transactions * workload.ROWS_PER_TRANSACTION
    raw, debezium, replication = _rate("mariadb-binlog --raw"), _rate(DEBEZIUM), _rate(MYSQL_REPLICATION)
    ours, plain = _rate("Headwater"), _rate("Headwater, uncompiled")
    alone = {name: _rate(f"the decoder alone, {name}") for name in ("as installed", "uncompiled")}
    with Pair("mariadb", "mariadb") as pair, decoding.uncompiled() as without:
        position, place = prepare(pair, transactions)
        with decoding.recorded(pair.source, place) as stream:
            for _run in range(options.runs):
                raw.values.append(rows / receive(pair, place))
                ours.values.append(rows / captured(pair, position, transactions))
                plain.values.append(rows / captured(pair, position, transactions, without))
                debezium.values.append(DEBEZIUM_ROWS_PER_S)
                replication.values.append(MYSQL_REPLICATION_ROWS_PER_S)
                for figures, environment in zip(alone.values(), ({}, without), strict=True):
                    figures.values.append(decoding.decoded(stream, environment))
    what = "capture from MariaDB into the journal, durable"
    made = compared(what, ours, raw, 0.5)
    made.more = list(alone.values())
    return [
        made,
        compared(what, ours, debezium, 3.0),
        compared(f"{what}, uncompiled", plain, debezium, 1.0),
        compared(f"{what}, uncompiled", plain, replication, 15.0),
    ]


def _rate(name: str) -> Figures:
    return Figures(name, "rows/s")


def into_mariadb(_: Servers, options: Options) -> list[Row]:
    """A backlog from MariaDB into MariaDB, against its own replication with one applier thread."""
    transactions = options.of(10_000)
    rows, last = transactions * workload.ROWS_PER_TRANSACTION, transactions * workload.INSERTS_PER_TRANSACTION - 1
    ours, baseline = Figures("Headwater", "rows/s"), Figures("MariaDB's replication", "rows/s")
    with Pair("mariadb", "mariadb") as pair:
        position, place = prepare(pair, transactions)
        for _run in range(options.runs):
            fresh_target(pair)
            baseline.values.append(rows / replicate(pair, place, last))
            ours.values.append(rows / follow(pair, position, transactions, last))
    return [compared("end to end, backlog of W1, MariaDB to MariaDB", ours, baseline, 1.0)]


def into_postgres(servers: Servers, options: Options) -> list[Row]:
    """A backlog from MariaDB into PostgreSQL, against ours from PostgreSQL into PostgreSQL."""
    transactions = options.of(10_000)
    rows, last = transactions * workload.ROWS_PER_TRANSACTION, transactions * workload.INSERTS_PER_TRANSACTION - 1
    ours, baseline = Figures("MariaDB to PostgreSQL", "rows/s"), Figures("PostgreSQL to PostgreSQL", "rows/s")
    prepare_postgres(servers, backlog.TABLE, slot_name(backlog.SOURCE_ID), backlog.BASE, transactions)
    with Pair("mariadb", "postgres") as pair:
        position, _place = prepare(pair, transactions)
        for _run in range(options.runs):
            baseline.values.append(rows / backlog.follow(servers, transactions))
            ours.values.append(rows / follow(pair, position, transactions, last))
    return [compared("end to end, backlog of W1, MariaDB to PostgreSQL", ours, baseline, 0.8)]


def first_copy(_: Servers, options: Options) -> list[Row]:
    """The first copy between MariaDBs, against a streamed SELECT piped into LOAD DATA."""
    rows = options.of(5_000_000)
    ours, baseline = Figures("Headwater", "rows/s"), Figures("SELECT | LOAD DATA", "rows/s")
    with Pair("mariadb", "mariadb") as pair:
        pair.source.make_table(COPIED)
        pair.source.fill(COPIED, 1, rows)
        pair.source.run(f"ANALYZE TABLE {COPIED}")
        for _run in range(options.runs):
            baseline.values.append(rows / pipe(pair))
            ours.values.append(rows / copy(pair))
    return [compared(f"first copy of {rows:,} rows, MariaDB to MariaDB", ours, baseline, 0.9)]


ROWS: dict[str, Callable[[Servers, Options], list[Row]]] = {
    "mariadb_capture": capture,
    "mariadb_mariadb": into_mariadb,
    "mariadb_postgres": into_postgres,
    "mariadb_copy": first_copy,
}


def prepare(pair: Pair, transactions: int) -> tuple[str, Place]:
    """W1 at the end of the source's log; where it begins, in our words and in MariaDB's."""
    pair.source.make_table(TABLE)
    pair.source.fill(TABLE, -workload.BEFORE, -1)
    pair.source.run("FLUSH BINARY LOGS")
    position, place = pair.position(), pair.source.log_end()
    pair.source.w1(TABLE, transactions)
    return position, place


def fresh_target(pair: Pair, table: str = TABLE) -> None:
    """The table at the target as it was before the history."""
    pair.target.make_table(table)
    pair.target.fill(table, -workload.BEFORE, -1)


def receive(pair: Pair, place: Place) -> float:
    """Seconds that MariaDB's own reader takes to have the log in memory."""
    directory = Path(tempfile.mkdtemp(prefix="headwater-bench-", dir=decoding.MEMORY))
    told = ["--read-from-remote-server", "--raw", "--to-last-log", f"--result-file={directory}/", f"--start-position={place[1]}", place[0]]
    began = time.monotonic()
    try:
        if pair.source.program("mariadb-binlog", *told).wait():
            raise RuntimeError("mariadb-binlog failed")
        return time.monotonic() - began
    finally:
        shutil.rmtree(directory)


def captured(pair: Pair, position: str, transactions: int, environment: dict[str, str] | None = None) -> float:
    """Seconds that our capture takes, from the moment at which it reads."""
    with Pipeline(pair, "capture", TABLE, environment=environment) as pipeline:
        pipeline.make_journal(position)
        worker = pipeline.start_capture()
        began = until(lambda: pipeline._holds(pair.source.dumping()), 30, "our capture")
        ended = pipeline.captured(transactions)
        pipeline.stop(worker)
    until(lambda: not pair.source.dumping(), 30, "the end of our capture's session")
    return ended - began


def replicate(pair: Pair, place: Place, last: int) -> float:
    """Seconds that MariaDB's own replication takes, from the moment at which it reads to the last row."""
    source, target = pair.source, pair.target
    assert source.mariadb is not None
    target.run(
        f"CHANGE MASTER TO master_host = '{source.mariadb.host}', master_port = {source.mariadb.port}, master_user = 'root',"
        f" master_password = '{source.mariadb.password}', master_log_file = '{place[0]}', master_log_pos = {place[1]}"
    )
    target.run("START SLAVE")
    began = until(source.dumping, 30, "MariaDB's replication")
    ended = until(lambda: _arrived(pair, last), 1200, "the end of the backlog")
    target.run("STOP SLAVE")
    target.run("RESET SLAVE ALL")
    pair.equal(TABLE)
    source.end_dumps()
    return ended - began


def follow(pair: Pair, position: str, transactions: int, last: int) -> float:
    """Seconds that our capture and apply take together, from the moment at which capture reads to the last row."""
    fresh_target(pair)
    with Pipeline(pair, "backlog", TABLE) as pipeline:
        pipeline.place_task(pipeline.make_journal(position))
        apply = pipeline.start_apply()
        pipeline.waiting(apply)
        capture = pipeline.start_capture()
        began = until(lambda: pipeline._holds(pair.source.dumping()), 30, "our capture")
        ended = until(lambda: pipeline._holds(_arrived(pair, last)), 1200, "the end of the backlog")
        pipeline.applied(transactions)
        pair.equal(TABLE)
        pipeline.stop(apply)
        pipeline.stop(capture)
    until(lambda: not pair.source.dumping(), 30, "the end of our capture's session")
    return ended - began


def pipe(pair: Pair) -> float:
    """Seconds of one `mariadb` into another."""
    pair.target.make_table(COPIED)
    load = f"LOAD DATA LOCAL INFILE '/dev/stdin' INTO TABLE {COPIED} CHARACTER SET utf8mb4"
    began = time.monotonic()
    reader = pair.source.program(
        "mariadb", "--quick", "--batch", "--skip-column-names", "-e", f"SELECT * FROM {COPIED}", "bench", stdout=subprocess.PIPE
    )
    writer = pair.target.program("mariadb", "--local-infile=1", "-e", load, "bench", stdin=reader.stdout)
    if writer.wait() or reader.wait():
        raise RuntimeError("SELECT | LOAD DATA failed")
    return time.monotonic() - began


def copy(pair: Pair) -> float:
    """Seconds of our first copy, from the apply's first session at the target to the last chunk."""
    pair.target.make_table(COPIED)
    with Pipeline(pair, "copied", COPIED) as pipeline:
        pipeline.forget_task()
        pipeline.make_journal(pair.position())
        capture = pipeline.start_capture()
        until(lambda: pipeline._holds(pair.source.dumping()), 60, "our capture")
        started = pair.clock()
        apply = pipeline.start_apply()
        began = pipeline.apply_began(started)
        ended = until(lambda: pipeline._holds(_copied(apply.report())), 3600, "the end of the copy")
        pipeline.stop(apply)
        pipeline.stop(capture)
    pair.equal(COPIED)
    return ended - began


def _arrived(pair: Pair, last: int) -> bool:
    return pair.target.one(f"SELECT 1 FROM {TABLE} WHERE id = {last}") is not None


def _copied(report: object) -> bool:
    return getattr(report, "state", "") in ("catching_up", "following")
