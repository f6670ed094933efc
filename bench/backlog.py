"""End to end: a backlog of W1 into PostgreSQL against its own `CREATE SUBSCRIPTION`, and a replay after a reset against that."""

from __future__ import annotations

import psycopg
from psycopg import sql

from bench import workload
from bench.capture import prepare
from bench.measure import Figures, Row, compared, until
from bench.options import Options
from bench.servers import Servers, identifier, one
from bench.workers import Pipeline, slot_name

TABLE = "backlog"
SOURCE_ID = "backlog"
BASE = "bench_base_backlog"
FEW_TABLE = "few"
FEW_ID = "few"


def run(servers: Servers, options: Options) -> list[Row]:
    """The rows of the backlog and of the replay."""
    transactions = options.of(10_000)
    rows = transactions * workload.ROWS_PER_TRANSACTION
    prepare(servers, TABLE, slot_name(SOURCE_ID), BASE, transactions)
    ours, baseline = Figures("Headwater", "rows/s"), Figures("CREATE SUBSCRIPTION", "rows/s")
    for _ in range(options.runs):
        baseline.values.append(rows / subscribe(servers, transactions))
        ours.values.append(rows / follow(servers, transactions))
    servers.drop_slot(BASE)
    backlog = compared("end to end, backlog of W1", ours, baseline, 1.0)
    replayed = Figures("replay", "rows/s", replays(servers, options, transactions))
    alone = Figures("end to end, as above", "rows/s", ours.values)
    return [backlog, compared("replay of as much over 100,000 keys after a reset", replayed, alone, 2.0)]


def fresh_target(servers: Servers, table: str, first: int, last: int) -> None:
    """The table at the target as it was before the history."""
    servers.on_target.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(identifier(table)))
    workload.make_table(servers.on_target, table)
    workload.fill(servers.on_target, table, first, last)
    servers.on_target.execute(sql.SQL("VACUUM ANALYZE {}").format(identifier(table)))
    servers.on_target.execute("CHECKPOINT")


def subscribe(servers: Servers, transactions: int) -> float:
    """Seconds that PostgreSQL's own replication takes, from the moment at which it reads to the last row."""
    slot, name = "bench_subscription", sql.Identifier("bench")
    fresh_target(servers, TABLE, -workload.BEFORE, -1)
    servers.copy_slot(BASE, slot)
    statement = "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH (slot_name = {}, create_slot = false, copy_data = false)"
    publication = sql.Identifier(slot_name(SOURCE_ID))
    servers.on_target.execute(sql.SQL(statement).format(name, servers.source_dsn(), publication, sql.Identifier(slot)))
    began = until(lambda: servers.slot_active(slot), 30, "the subscription")
    ended = until(lambda: _arrived(servers.on_target, TABLE, transactions), 600, "the end of the backlog")
    unsubscribe(servers, "bench")
    servers.drop_slot(slot)
    return ended - began


def unsubscribe(servers: Servers, name: str) -> None:
    """Drop a subscription and leave its slot."""
    for change in ("DISABLE", "SET (slot_name = NONE)"):
        servers.on_target.execute(sql.SQL("ALTER SUBSCRIPTION {} " + change).format(identifier(name)))
    servers.on_target.execute(sql.SQL("DROP SUBSCRIPTION {}").format(identifier(name)))


def _arrived(connection: psycopg.Connection[object], table: str, transactions: int) -> bool:
    last = transactions * workload.INSERTS_PER_TRANSACTION - 1
    return one(connection, f"SELECT 1 FROM {table} WHERE id = {last}") is not None


def follow(servers: Servers, transactions: int) -> float:
    """Seconds that our capture and apply take together, from the moment at which capture reads to the last row."""
    slot = slot_name(SOURCE_ID)
    fresh_target(servers, TABLE, -workload.BEFORE, -1)
    servers.copy_slot(BASE, slot)
    with Pipeline(servers, SOURCE_ID, TABLE) as pipeline:
        pipeline.place_task(pipeline.make_journal())
        apply = pipeline.start_apply()
        pipeline.waiting(apply)
        capture = pipeline.start_capture()
        began = until(lambda: pipeline._holds(servers.slot_active(slot)), 30, "our capture")
        ended = until(lambda: pipeline._holds(_arrived(servers.on_target, TABLE, transactions)), 600, "the end of the backlog")
        pipeline.applied(transactions)
        equal(servers, TABLE)
        pipeline.stop(apply)
        pipeline.stop(capture)
    servers.drop_slot(slot)
    return ended - began


def equal(servers: Servers, table: str) -> None:
    """A rate of wrong rows is worth nothing: raise where the target differs from the source."""
    query = f"SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM {table} AS t"
    source, target = one(servers.on_source, query), one(servers.on_target, query)
    if source != target:
        raise RuntimeError(f"table {table} differs: {source} at the source, {target} at the target")


def replays(servers: Servers, options: Options, transactions: int) -> list[float]:
    """Rates of replays of one history over 100,000 keys, from the apply's first session to the place where the task had stood."""
    workload.make_table(servers.on_source, FEW_TABLE)
    workload.fill(servers.on_source, FEW_TABLE, 0, workload.FEW_KEYS - 1)
    fresh_target(servers, FEW_TABLE, 0, workload.FEW_KEYS - 1)
    slot = slot_name(FEW_ID)
    servers.publish(slot, FEW_TABLE)
    servers.make_slot(slot)
    workload.few_keys(servers.on_source, FEW_TABLE, transactions)
    with Pipeline(servers, FEW_ID, FEW_TABLE) as pipeline:
        journal_id = pipeline.make_journal()
        pipeline.place_task(journal_id)
        capture, apply = pipeline.start_capture(), pipeline.start_apply()
        pipeline.applied(transactions)
        pipeline.stop(apply)
        pipeline.stop(capture)
        rows = transactions * workload.ROWS_PER_TRANSACTION
        rates = [rows / _replay(servers, pipeline, journal_id, epoch, transactions) for epoch in range(2, 2 + options.runs)]
        equal(servers, FEW_TABLE)
    servers.drop_slot(slot)
    return rates


def _replay(servers: Servers, pipeline: Pipeline, journal_id: str, epoch: int, transactions: int) -> float:
    servers.on_target.execute(sql.SQL("VACUUM ANALYZE {}").format(identifier(FEW_TABLE)))
    servers.on_target.execute("CHECKPOINT")
    pipeline.reset_task(journal_id, epoch)
    started = servers.clock()
    apply = pipeline.start_apply(epoch)
    began = pipeline.apply_began(started)
    ended = pipeline.applied(transactions)
    pipeline.stop(apply)
    return ended - began
