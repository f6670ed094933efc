"""The disk is full: under the data directory with journal and metadata, then under the target. Both heal once there is space again."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from headwater.clusters import PrivatePostgres
from tests.conftest import BOTH, ClusterFactory
from tests.crash.stage import Setting, Stage, stage
from tests.small_disks import small_disk

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(600)]

FILLER = "filler"
SMALL = {"max_wal_size": "'64MB'", "min_wal_size": "'32MB'"}


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


def test_disks_that_are_full(tmp_path: Path, make_cluster: ClusterFactory) -> None:
    reachable = Path(tempfile.gettempdir()) / f"headwater-crash-{os.getpid()}"
    with (
        small_disk(tmp_path / "data", 256) as data_dir,
        small_disk(reachable, 640) as place,
        PrivatePostgres(BOTH[0], place / "target", settings=SMALL) as target,
        stage(data_dir, make_cluster(BOTH[-1]), target, Setting()) as made,
    ):
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
