"""The disk is full: under the data directory with journal and metadata, then under the target. Both heal once there is space again.

The disks are small file systems in memory, which only root may mount; elsewhere the test is skipped.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from headwater.clusters import PrivatePostgres
from tests.conftest import BOTH, ClusterFactory
from tests.crash.stage import Setting, Stage, stage

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(600)]

FILLER = "filler"


@pytest.fixture
def small_disks(tmp_path: Path) -> Iterator[ExitStack]:
    """Unmounts at the end."""
    if os.geteuid() or shutil.which("mount") is None:
        pytest.skip("only root can mount a small file system")
    with ExitStack() as stack:
        yield stack


def mounted(disks: ExitStack, place: Path, mib: int) -> Path:
    """A file system of this size at `place`."""
    place.mkdir(parents=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=755", "none", str(place)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip("mounting a small file system is not allowed here")
    disks.callback(subprocess.run, ["umount", "--lazy", str(place)], check=True)
    return place


@contextmanager
def full(disk: Path) -> Iterator[None]:
    """Fill the disk up, for the body of the `with`."""
    filler = disk / FILLER
    with filler.open("wb", buffering=0) as file:
        for piece in (1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while file.write(bytes(piece)) == piece:
                    pass
    try:
        yield
    finally:
        filler.unlink()


def test_disks_that_are_full(tmp_path: Path, small_disks: ExitStack, make_cluster: ClusterFactory) -> None:
    data_dir = mounted(small_disks, tmp_path / "data", 256)
    place = Path(tempfile.gettempdir()) / f"headwater-crash-{os.getpid()}"
    small_disks.callback(shutil.rmtree, place, ignore_errors=True)  # after it was unmounted
    mounted(small_disks, place, 640)
    settings = {"max_wal_size": "'64MB'", "min_wal_size": "'32MB'"}
    target = small_disks.enter_context(PrivatePostgres(BOTH[0], place / "target", settings=settings))
    with stage(data_dir, make_cluster(BOTH[-1]), target, Setting()) as made:
        with full(data_dir):
            await_retrying(made, "journal_full")
        print(f"moved on {made.await_moved_on():.1f} s after there was space for the journal")
        with full(place):
            made.wait(lambda: made.task()["state"] in ("retrying", "stalled"), 120, "the target's disk being full")
        print(f"moved on {made.await_moved_on():.1f} s after there was space at the target")
        made.finish()


def await_retrying(made: Stage, kind: str) -> None:
    """Wait until the service says that it keeps trying, and why; with its own metadata on the full disk it may only log that."""
    made.wait(lambda: f'"kind": "{kind}"' in made.headwater.log_tail(2000), 120, f"the log telling of {kind}")
