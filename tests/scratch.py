"""Where the tests put what they throw away: in memory, where there is room for it.

A database on PostgreSQL consists of three hundred files. Making one costs a sixth of the time in memory, and nothing waits for a disk.
Nothing is lost by it: no test ends the machine, so none can tell what a disk has kept from what it has not.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
ROOM = 10 << 30
"""Bytes that have to be free before we begin, with much to spare: several runs at once were seen to take less than one GiB."""

LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""What a container may use and what it uses, in the two ways of the kernel to tell."""


def use_memory() -> None:
    """Let everything temporary of this process and its children lie in memory. Whoever has chosen a place with TMPDIR is left alone."""
    if "TMPDIR" in os.environ or room() < ROOM:
        return
    place = MEMORY / f"headwater-tests-{os.geteuid()}"
    place.mkdir(exist_ok=True)
    if place.is_symlink() or place.stat().st_uid != os.geteuid():
        return  # somebody else's
    place.chmod(0o1777)  # the servers' user has to get there as well
    os.environ["TMPDIR"] = str(place)
    tempfile.tempdir = None


def keep_bytecode() -> None:
    """Let compiled modules be kept, and among what is thrown away, where somebody wants none beside the sources.

    The tests start processes by the thousand, and each would compile all that it imports."""
    if not sys.dont_write_bytecode:
        return
    sys.dont_write_bytecode = False
    sys.pycache_prefix = os.path.join(tempfile.gettempdir(), f"headwater-bytecode-{os.geteuid()}")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix


def room() -> int:
    """Bytes that may be written there; 0 where programs can't be run from there, or nothing is known."""
    if not os.access(MEMORY, os.W_OK):
        return 0
    disk = os.statvfs(MEMORY)
    if disk.f_flag & os.ST_NOEXEC:
        return 0
    return min(disk.f_bavail * disk.f_frsize, _available(), *(_left(*limit) for limit in LIMITS))


def _available() -> int:
    """What the machine has to give."""
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0]) << 10


def _left(limit: str, used: str) -> int:
    """What our container has left; more than any machine has where it has no such limit."""
    try:
        return int(Path(limit).read_text()) - int(Path(used).read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return 1 << 62
