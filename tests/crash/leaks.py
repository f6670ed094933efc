"""What a stage uses up: memory, files and threads of our processes, sessions at both servers, kept log, journal.

Taken once everything is quiet, before a plan and after it. A plan may leave none of it grown beyond a margin.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from tests.crash.sides import Side

MIB = 1 << 20


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
    def of(cls, processes: list[psutil.Process], source: Side[Any], target: Side[Any], data_dir: Path) -> Usage:
        """Now."""
        return cls(
            len(processes),
            sum(p.memory_info().rss for p in processes),
            sum(p.num_fds() for p in processes),
            sum(p.num_threads() for p in processes),
            source.sessions(),
            target.sessions(),
            source.kept_log(),
            sum(_size(Path(root) / name) for root, _, names in os.walk(data_dir / "journals") for name in names),
            source.log_so_far(),
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
