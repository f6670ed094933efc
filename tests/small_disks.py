"""Small file systems in memory, to be filled up. Only root may mount one; elsewhere what needs it is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HOLD = 'trap "" INT TERM; mount -t tmpfs -o "$2" none "$1" || exit; echo mounted; read -r _; umount --lazy "$1"; rmdir "$1"'
"""Mounts, and unmounts once its standard input ends, which happens however the test run does."""


@contextmanager
def small_disk(place: Path, mib: int) -> Iterator[Path]:
    """A file system of this size at `place`, for the body of the `with`; then both are gone."""
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    place.mkdir(parents=True)
    command = ["sh", "-c", HOLD, "sh", str(place), f"size={mib}m,mode=755"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True) as holder:
        assert holder.stdout is not None
        if not holder.stdout.readline():
            pytest.skip("mounting a small file system is not allowed here")
        try:
            yield place
        finally:
            holder.communicate()  # ends its input, and waits for its end
