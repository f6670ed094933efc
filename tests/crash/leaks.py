"""What a stage uses up: memory, files and threads of our processes, sessions at both servers, kept log, journal.

Taken once everything is quiet, before a plan and after it. A plan may leave none of it grown beyond a margin.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.databases import Database

MIB = 1 << 20
KEPT_LOG = "SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)), 0)::bigint FROM pg_replication_slots"
LOG_SO_FAR = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint"
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'headwater'"


@dataclass(frozen=True)
class Usage:
    """One sample. Sizes in bytes."""

    processes: int
    memory: int
    files: int
    threads: int
    source_sessions: int
    target_sessions: int
    kept_log: int
    journal: int
    log_so_far: int

    @classmethod
    def of(cls, processes: list[psutil.Process], source: Database, target: Database, data_dir: Path) -> Usage:
        """Now."""
        return cls(
            len(processes),
            sum(p.memory_info().rss for p in processes),
            sum(p.num_fds() for p in processes),
            sum(p.num_threads() for p in processes),
            source.rows(SESSIONS)[0][0],
            target.rows(SESSIONS)[0][0],
            source.rows(KEPT_LOG)[0][0],
            sum(_size(Path(root) / name) for root, _, names in os.walk(data_dir / "journals") for name in names),
            source.rows(LOG_SO_FAR)[0][0],
        )

    def grown_since(self, before: Usage) -> str:
        """What has grown beyond its margin; empty where nothing has."""
        limits = {
            "processes": before.processes,
            "memory": before.memory + 150 * MIB,
            "files": before.files + 20,
            "threads": before.threads + 20,
            "source_sessions": before.source_sessions + 1,
            "target_sessions": before.target_sessions + 1,
            "kept_log": 16 * MIB,
            "journal": before.journal + (self.log_so_far - before.log_so_far) + 64 * MIB,
        }
        return ", ".join(f"{name} {getattr(self, name)} > {limit}" for name, limit in limits.items() if getattr(self, name) > limit)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
