"""Resident memory of all our processes (service, capture, apply) while one transaction of 1 GB passes."""

from __future__ import annotations

import time

from bench import machine
from bench.measure import Figures, Row
from bench.options import Options
from bench.servers import Servers, one
from bench.service import Service
from headwater.client import Mapped

ROWS = 1_000_000
ROW_BYTES = 1_000
LIMIT_MB = 600.0
SAMPLE_S = 0.1
TIMEOUT_S = 1_800
TABLE = "CREATE TABLE large (id bigint PRIMARY KEY, words text)"
INSERT = """
INSERT INTO large
SELECT i, (SELECT string_agg(md5((i * 100 + j)::text), '') FROM generate_series(1, {}) AS j) FROM generate_series(1, {}) AS i
"""


def run(servers: Servers, options: Options) -> list[Row]:
    """The row. One run: it is a limit, not a rate."""
    rows = options.of(ROWS)
    for connection in (servers.on_source, servers.on_target):
        connection.execute(TABLE)
    with Service() as service:
        source, target = service.data_source("source", servers.source), service.data_source("target", servers.target)
        task = service.task("large", source, target, Mapped("public.large", "public.large"))
        service.following([task])
        before = machine.memory_mb(service.processes())
        servers.on_source.execute(INSERT.format(ROW_BYTES // 32, rows).encode())
        samples = _watch(servers, service, rows)
    first, second = max(samples[: len(samples) // 2]), max(samples[len(samples) // 2 :])
    ours = Figures("highest", "MB", [max(samples)])
    note = f"idle {before:.0f} MB; highest in the first half {first:.0f} MB, in the second {second:.0f} MB"
    what = f"memory of all our processes while a transaction of {rows * ROW_BYTES / 1e9:.2g} GB passes"
    return [Row(what, ours, None, f"<= {LIMIT_MB:g} MB", max(samples) <= LIMIT_MB, note=note)]


def _watch(servers: Servers, service: Service, rows: int) -> list[float]:
    """Samples until the transaction is visible at the target."""
    samples = []
    deadline = time.monotonic() + TIMEOUT_S
    while one(servers.on_target, "SELECT 1 FROM large WHERE id = %s", rows) is None:
        samples.append(machine.memory_mb(service.processes()))
        if time.monotonic() > deadline:
            raise TimeoutError("the large transaction did not arrive")
        time.sleep(SAMPLE_S)
    return samples
