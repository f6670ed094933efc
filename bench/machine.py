"""What the figures were taken on, and what our processes use of it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from headwater.clusters import Installation

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def describe(installation: Installation) -> dict[str, object]:
    """The machine and the versions."""
    cpu = next((line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    memory_kb = next(int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal"))
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(memory_kb / 1_000_000, 1),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "postgresql": ".".join(map(str, installation.version)),
        "compiled_decoder": _compiled(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _compiled() -> bool:
    import headwater.wire.pgoutput as decoder

    return not str(decoder.__file__).endswith(".py")


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def family(pid: int) -> list[int]:
    """A process with all its descendants."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children") if Path(f"/proc/{pid}").exists() else ():
        try:
            children = task.read_text().split()
        except OSError:
            continue
        for child in children:
            found += family(int(child))
    return found


def memory_mb(pids: list[int]) -> float:
    """Resident memory of all of them together; what they share is counted once (PSS)."""
    total_kb = 0
    for pid in pids:
        try:
            total_kb += next(int(line.split()[1]) for line in _lines(f"/proc/{pid}/smaps_rollup") if line.startswith("Pss:"))
        except (OSError, StopIteration):
            continue  # it has just ended
    return total_kb / 1024


def cpu_s(pids: list[int]) -> float:
    """Processor time that they have used so far."""
    total = 0.0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has just ended
        total += (int(fields[11]) + int(fields[12])) / TICKS_PER_S
    return total
