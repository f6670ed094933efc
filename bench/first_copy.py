"""The first copy of 5,000,000 rows against `COPY ... TO STDOUT` piped into `COPY ... FROM STDIN`, with the same indexes."""

from __future__ import annotations

import subprocess
import time

from psycopg import sql

from bench import workload
from bench.measure import Figures, Row, compared, until
from bench.options import Options
from bench.servers import Servers, identifier
from bench.workers import Pipeline, slot_name

TABLE = "copied"
SOURCE_ID = "copied"


def run(servers: Servers, options: Options) -> list[Row]:
    """The row."""
    rows = options.of(5_000_000)
    workload.make_table(servers.on_source, TABLE)
    workload.fill(servers.on_source, TABLE, 1, rows)
    servers.on_source.execute(sql.SQL("VACUUM ANALYZE {}").format(identifier(TABLE)))
    ours, baseline = Figures("Headwater", "rows/s"), Figures("COPY | COPY", "rows/s")
    for number in range(options.runs):
        baseline.values.append(rows / pipe(servers))
        ours.values.append(rows / copy(servers, number))
    servers.on_source.execute(sql.SQL("DROP TABLE {}").format(identifier(TABLE)))
    return [
        compared(
            f"first copy of {rows:,} rows", ours, baseline, 0.9, "the same primary key on both; ours in the two streams of the default"
        )
    ]


def empty_target(servers: Servers) -> None:
    """The table at the target without rows."""
    servers.on_target.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(identifier(TABLE)))
    workload.make_table(servers.on_target, TABLE)
    servers.on_target.execute("CHECKPOINT")


def pipe(servers: Servers) -> float:
    """Seconds of psql into psql."""
    empty_target(servers)
    psql = [str(servers.source.installation.bin / "psql"), "--no-psqlrc", "--quiet", "--command"]
    began = time.monotonic()
    reading = [*psql, f"COPY {TABLE} TO STDOUT", servers.source_dsn()]
    writing = [*psql, f"COPY {TABLE} FROM STDIN", servers.target_dsn()]
    with subprocess.Popen(reading, stdout=subprocess.PIPE) as reader, subprocess.Popen(writing, stdin=reader.stdout) as writer:
        if writer.wait() or reader.wait():
            raise RuntimeError("COPY | COPY failed")
    return time.monotonic() - began


def copy(servers: Servers, number: int) -> float:
    """Seconds of our first copy, from the apply's first session at the target to the last chunk."""
    empty_target(servers)
    slot = slot_name(f"{SOURCE_ID}-{number}")
    with Pipeline(servers, f"{SOURCE_ID}-{number}", TABLE) as pipeline:
        servers.publish(slot, TABLE)
        servers.make_slot(slot)
        capture = pipeline.start_capture()
        until(lambda: pipeline._holds(servers.slot_active(slot)), 60, "our capture")
        started = servers.clock()
        apply = pipeline.start_apply()
        began = pipeline.apply_began(started)
        ended = until(lambda: pipeline._holds(_copied(apply.report())), 3600, "the end of the copy")
        pipeline.stop(apply)
        pipeline.stop(capture)
    servers.drop_slot(slot)
    servers.on_source.execute(sql.SQL("DROP PUBLICATION {}").format(identifier(slot)))
    return ended - began


def _copied(report: object) -> bool:
    return getattr(report, "state", "") in ("catching_up", "following")
