"""Capture into the journal, durable, against `pg_recvlogical` with `pgoutput` to /dev/null."""

from __future__ import annotations

import subprocess
import time

from bench import workload
from bench.measure import Figures, Row, compared, until
from bench.options import Options
from bench.servers import Servers
from bench.workers import Pipeline, slot_name

TABLE = "captured"
SOURCE_ID = "capture"
BASE = "bench_base_capture"


def run(servers: Servers, options: Options) -> list[Row]:
    """The row."""
    transactions = options.of(10_000)
    rows = transactions * workload.ROWS_PER_TRANSACTION
    publication = slot_name(SOURCE_ID)
    end = prepare(servers, TABLE, publication, BASE, transactions)
    ours, baseline = Figures("Headwater", "rows/s"), Figures("pg_recvlogical", "rows/s")
    for _ in range(options.runs):
        baseline.values.append(rows / receive(servers, publication, end))
        ours.values.append(rows / capture(servers, transactions))
    servers.drop_slot(BASE)
    return [compared("capture into the journal, durable", ours, baseline, 1.0)]


def prepare(servers: Servers, table: str, publication: str, base: str, transactions: int) -> str:
    """W1 in the log behind the slot `base`; the place of its end."""
    workload.make_table(servers.on_source, table)
    workload.fill(servers.on_source, table, -workload.BEFORE, -1)
    servers.publish(publication, table)
    servers.make_slot(base)
    workload.w1(servers.on_source, table, transactions)
    return servers.log_end()


def receive(servers: Servers, publication: str, end: str) -> float:
    """Seconds that `pg_recvlogical` takes, from the moment at which it reads."""
    slot = "bench_receive"
    servers.copy_slot(BASE, slot)
    command = [
        str(servers.source.installation.bin / "pg_recvlogical"),
        "--dbname", servers.source_dsn(), "--slot", slot, "--start", "--no-loop", "--file", "/dev/null", "--endpos", end,
        "--option", "proto_version=1", "--option", f"publication_names={publication}",
    ]  # fmt: skip
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        began = until(lambda: servers.slot_active(slot), 30, "pg_recvlogical")
        told = process.communicate()[1]
        spent = time.monotonic() - began
    if process.returncode:
        raise RuntimeError(f"pg_recvlogical failed: {told}")
    servers.drop_slot(slot)
    return spent


def capture(servers: Servers, transactions: int) -> float:
    """Seconds that our capture takes, from the moment at which it reads."""
    slot = slot_name(SOURCE_ID)
    servers.copy_slot(BASE, slot)
    with Pipeline(servers, SOURCE_ID, TABLE) as pipeline:
        pipeline.make_journal()
        worker = pipeline.start_capture()
        began = until(lambda: pipeline._holds(servers.slot_active(slot)), 30, "our capture")
        ended = pipeline.captured(transactions)
        pipeline.stop(worker)
    servers.drop_slot(slot)
    return ended - began
