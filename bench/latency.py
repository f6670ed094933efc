"""Commit to visible at 500 single-row transactions per second, ours beside `CREATE SUBSCRIPTION` under the same load.

A writer commits on a schedule and notes when each commit returned; a watcher asks the target for the highest id all the time. A row's
latency is the moment of the first answer that has it less the moment of its commit; what the asking takes is in it for both.
"""

from __future__ import annotations

import bisect
import threading
import time

import psycopg
from psycopg import sql

from bench import workload
from bench.backlog import unsubscribe
from bench.measure import Figures, Row, percentile, until
from bench.options import Options
from bench.servers import Servers, identifier, one
from bench.workers import Pipeline, slot_name

PER_S = 500
SECONDS = 20
WARM_S = 3
INSERT = b"INSERT INTO latency VALUES (%s, 1, 2, 'name', 1.5, now(), 'some words', true)"


class Writer(threading.Thread):
    """Inserts ids from `first` on at the rate; `committed` are the times."""

    def __init__(self, dsn: str, first: int, count: int) -> None:
        super().__init__(daemon=True)
        self._dsn, self._first, self._count = dsn, first, count
        self.committed: list[float] = []

    def run(self) -> None:
        """See `threading.Thread.run`."""
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(INSERT, (self._first,), prepare=True)
            self.committed.append(time.monotonic())
            began = time.monotonic()
            for number in range(1, self._count):
                time.sleep(max(0.0, began + number / PER_S - time.monotonic()))
                connection.execute(INSERT, (self._first + number,), prepare=True)
                self.committed.append(time.monotonic())


def run(servers: Servers, options: Options) -> list[Row]:
    """The two rows."""
    workload.make_table(servers.on_source, "latency")
    count = options.of(SECONDS * PER_S)
    figures = {name: Figures(name, "ms") for name in ("ours p50", "ours p99", "theirs p50", "theirs p99")}
    rates = Figures("achieved rate", "transactions/s")
    for _ in range(options.runs):
        for who, measured in (("theirs", _subscription(servers, count)), ("ours", _pipeline(servers, count))):
            latencies, rate = measured
            figures[f"{who} p50"].values.append(percentile(latencies, 0.5))
            figures[f"{who} p99"].values.append(percentile(latencies, 0.99))
            rates.values.append(rate)
    rows = []
    for share, limit in (("p50", 100.0), ("p99", 500.0)):
        ours, theirs = figures[f"ours {share}"], figures[f"theirs {share}"]
        row = Row(f"commit to visible at {PER_S} transactions/s, {share}", ours, theirs, f"<= {limit:g} ms", ours.median <= limit)
        rows.append(row)
    rows[0].more.append(rates)
    return rows


def _subscription(servers: Servers, count: int) -> tuple[list[float], float]:
    slot = "bench_latency"
    _empty(servers)
    servers.on_source.execute(sql.SQL("DROP PUBLICATION IF EXISTS {0}").format(identifier(slot)))
    servers.publish(slot, "latency")
    statement = "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH (slot_name = {}, create_slot = false, copy_data = false)"
    servers.make_slot(slot)
    name = identifier(slot)
    servers.on_target.execute(sql.SQL(statement).format(name, servers.source_dsn(), name, name))
    until(lambda: servers.slot_active(slot), 30, "the subscription")
    measured = measure(servers, count)
    unsubscribe(servers, slot)
    servers.drop_slot(slot)
    return measured


def _pipeline(servers: Servers, count: int) -> tuple[list[float], float]:
    source_id = "latency"
    slot = slot_name(source_id)
    _empty(servers)
    servers.on_source.execute(sql.SQL("DROP PUBLICATION IF EXISTS {0}").format(identifier(slot)))
    servers.publish(slot, "latency")
    servers.make_slot(slot)
    with Pipeline(servers, source_id, "latency") as pipeline:
        pipeline.place_task(pipeline.make_journal())
        apply, capture = pipeline.start_apply(), pipeline.start_capture()
        pipeline.waiting(apply)
        until(lambda: pipeline._holds(servers.slot_active(slot)), 30, "our capture")
        measured = measure(servers, count)
        pipeline.check()
        pipeline.stop(apply)
        pipeline.stop(capture)
    servers.drop_slot(slot)
    return measured


def _empty(servers: Servers) -> None:
    servers.on_source.execute("TRUNCATE latency")
    servers.on_target.execute("DROP TABLE IF EXISTS latency")
    workload.make_table(servers.on_target, "latency")


def measure(servers: Servers, count: int, first: int = 1) -> tuple[list[float], float]:
    """Latencies in ms of all but the first seconds, and the rate that was really reached. Ids from `first` on are above all others."""
    writer = Writer(servers.source_dsn(), first, count)
    seen_at: list[float] = []
    seen: list[int] = []
    writer.start()
    while not seen or seen[-1] < first + count - 1:
        highest = int(one(servers.on_target, "SELECT coalesce(max(id), 0) FROM latency"))
        if not seen or highest > seen[-1]:
            seen.append(highest)
            seen_at.append(time.monotonic())
        if not writer.is_alive() and time.monotonic() - writer.committed[-1] > 60:
            raise TimeoutError("the last row did not arrive")
        time.sleep(0.001)
    writer.join()
    skip = min(WARM_S * PER_S, count // 4)
    latencies = [(seen_at[bisect.bisect_left(seen, first + number)] - writer.committed[number]) * 1000 for number in range(skip, count)]
    return latencies, (count - 1) / (writer.committed[-1] - writer.committed[0])
