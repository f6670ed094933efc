"""The binlog decoder alone, from memory into memory, and its two forms: as it is installed, and uncompiled.

`python -m bench.decoding FILE` decodes a recorded stream of W1 and tells, as JSON, how long that took and in which form it was."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import headwater
from bench.mariadb_servers import Side
from headwater.wire import binlog
from headwater.wire.binlog_values import ColumnPlan

MEMORY = "/dev/shm"
COM_BINLOG_DUMP, NON_BLOCKING = 0x12, 1
STRETCH_BYTES = 1 << 20
FRAME_ROWS, FRAME_BYTES = 65_536, 8 << 20
"""As capture reads and cuts."""


@contextmanager
def uncompiled() -> Iterator[dict[str, str]]:
    """An environment in which Python finds a copy of Headwater without what was compiled."""
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as directory:
        here = Path(headwater.__file__).parent
        shutil.copytree(here, Path(directory) / here.name, ignore=shutil.ignore_patterns("*.so", "*.pyd", "__pycache__"))
        yield {"PYTHONPATH": directory}


@contextmanager
def recorded(source: Side, place: tuple[str, int]) -> Iterator[Path]:
    """A file in memory with what the server sends a replica, packets with their heads, from a place to the end of the log."""
    assert source.mariadb is not None
    session: Any
    with tempfile.NamedTemporaryFile(prefix="headwater-bench-", dir=MEMORY) as file, source.mariadb.connect() as session:
        with session.cursor() as cursor:
            cursor.execute("SET @master_binlog_checksum = @@global.binlog_checksum, @mariadb_slave_capability = 4")
        session._execute_command(COM_BINLOG_DUMP, struct.pack("<IHI", place[1], NON_BLOCKING, 4_000_000_001) + place[0].encode())
        while not (packet := session._read_packet()).is_eof_packet():
            data = packet.get_all_data()
            file.write(len(data).to_bytes(3, "little") + b"\0" + data)
        file.flush()
        yield Path(file.name)


def decoded(path: Path, environment: dict[str, str]) -> float:
    """Rows per second of processor time, in a process of its own."""
    wanted = binlog.COMPILED and not environment
    found = subprocess.run(
        [sys.executable, "-m", "bench.decoding", str(path)], env={**os.environ, **environment}, check=True, stdout=subprocess.PIPE
    )
    told = json.loads(found.stdout)
    if told["compiled"] != wanted:
        raise RuntimeError("another form of the decoder was measured than was meant")
    return float(told["rows"] / told["seconds"])


class _Places:
    def passed(self, gtid: str) -> None:
        """Nobody asks."""

    def text(self, file: str, offset: int) -> tuple[str, int]:
        return file, offset


def _decode(stream: bytearray) -> int:
    """Decode all of it, and count the rows."""
    decoder = binlog.Decoder(lambda table: binlog.TablePlan((0,), (ColumnPlan(),) * len(table.columns)), _Places(), FRAME_ROWS, FRAME_BYTES)
    at = rows = 0
    for stop in [*range(STRETCH_BYTES, len(stream), STRETCH_BYTES), len(stream)]:
        event = binlog.FULL
        while event != binlog.NOTHING:
            at, event = decoder.feed_stream(stream, at, stop)
            if decoder.rows >= FRAME_ROWS or decoder.message_bytes >= FRAME_BYTES or event == binlog.FULL:
                rows += sum(decoder.take().counts)
    return rows + sum(decoder.take().counts)


def main() -> None:
    """See the module."""
    stream = bytearray(Path(sys.argv[1]).read_bytes())
    began = time.process_time()
    rows = _decode(stream)
    print(json.dumps({"rows": rows, "seconds": time.process_time() - began, "compiled": binlog.COMPILED}))


if __name__ == "__main__":
    main()
