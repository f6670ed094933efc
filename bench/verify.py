"""A verification of equal tables against a plain `COPY ... TO STDOUT` of both sides at the same time, thrown away.

The COPY is what it costs at least to bring all rows to one place for comparing. Ours compares in the databases, with the default load
(chunks of 20,000 rows, a pause after each), and once more without pauses.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from dataclasses import replace

from psycopg import sql

from bench import workload
from bench.measure import Figures, Row
from bench.options import Options
from bench.servers import Servers, identifier
from bench.workers import COLUMNS, OPERATIONS
from headwater import adapters
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.tables import TableName
from headwater.engine.control import Control, SystemClock
from headwater.engine.orders import Connection, VerifyLoad
from headwater.engine.verify import VerifyJob, verify
from headwater.ports.runtime import VerifyReport
from headwater.ports.source import Source
from headwater.ports.target import Checkpoint, CopyState, TableState, Target
from headwater.testing import MemoryJournal

TABLE = "verified"
NAME = TableName("public", TABLE)
MAPPING = TableMapping("m", NAME, NAME, tuple(ColumnPair(c, c, c == "id") for c in COLUMNS), OPERATIONS)


def run(servers: Servers, options: Options) -> list[Row]:
    """The row."""
    rows = options.of(2_000_000)
    for connection in (servers.on_source, servers.on_target):
        workload.make_table(connection, TABLE)
        workload.fill(connection, TABLE, 1, rows)
        connection.execute(sql.SQL("VACUUM ANALYZE {}").format(identifier(TABLE)))
    source, target = _adapters(servers)
    journal = _stand(target)
    ours, baseline, hurried = Figures("Headwater", "rows/s"), Figures("COPY of both sides", "rows/s"), Figures("without pauses", "rows/s")
    for _ in range(options.runs):
        baseline.values.append(rows / copies(servers))
        ours.values.append(rows / verified(source, target, journal, VerifyLoad()))
        hurried.values.append(rows / verified(source, target, journal, replace(VerifyLoad(), pause_s=0.0)))
    ratio = statistics.median(o / b for o, b in zip(ours.values, baseline.values, strict=True))
    note = "rows of one side; both sides are read in that time; nothing is to be reached"
    return [Row(f"verification of {rows:,} equal rows", ours, baseline, "", None, ratio, note, [hurried])]


def copies(servers: Servers) -> float:
    """Seconds of two psql."""
    psql = [str(servers.source.installation.bin / "psql"), "--no-psqlrc", "--quiet", "--command", f"COPY {TABLE} TO STDOUT"]
    began = time.monotonic()
    running = [subprocess.Popen([*psql, dsn], stdout=subprocess.DEVNULL) for dsn in (servers.source_dsn(), servers.target_dsn())]
    statuses = [process.wait() for process in running]
    if any(statuses):
        raise RuntimeError("COPY failed")
    return time.monotonic() - began


def verified(source: Source, target: Target, journal: MemoryJournal, load: VerifyLoad) -> float:
    """Seconds of our verification, from its first connection on."""
    control = Control()
    began = time.monotonic()
    job = VerifyJob("bench", [MAPPING], frozenset(), source, target, journal.reader, load=load)
    verify(job, control, SystemClock())
    spent_s = time.monotonic() - began
    if not isinstance(control.report, VerifyReport) or control.report.outcome != "equal":
        raise RuntimeError(f"the tables are not equal: {control.report}")
    return spent_s


def _adapters(servers: Servers) -> tuple[Source, Target]:
    def opened(one: Connection) -> tuple[str, str, dict[str, object], dict[str, str]]:
        return one.type, one.id, one.content, one.secrets

    here, there = servers.connections("source")
    return adapters.source(*opened(here)), adapters.target(*opened(there))


def _stand(target: Target) -> MemoryJournal:
    """A journal, and a task that is copied and stands at its end."""
    journal = MemoryJournal()
    target.raise_epoch("bench", 1)
    run = target.open("bench", 1)
    run.commit(Checkpoint(1, journal.end().journal_id, 0))
    run.save_table_state(TableState("m", CopyState.COPIED))
    run.close()
    return journal
