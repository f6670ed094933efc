"""A standby of a private server, to be promoted: made by `pg_basebackup`, streaming over a slot of its own."""

from __future__ import annotations

import os
import subprocess
import time
from typing import Any

import psycopg

from headwater.clusters import ClusterError, PrivatePostgres
from tests.databases import wait_until

STANDBY_SLOT = "standby"
SYNCED = "SELECT count(*) > 0 FROM pg_replication_slots WHERE slot_name LIKE 'headwater%' AND synced AND NOT temporary"


class Standby(PrivatePostgres):
    """Follows `primary` from its start on."""

    def __init__(self, primary: PrivatePostgres) -> None:
        keeping = {"sync_replication_slots": "on"} if primary.installation.version >= (17, 0) else {}
        super().__init__(primary.installation, settings={**primary.settings, "hot_standby_feedback": "on", **keeping})
        self._primary = primary
        self.password = primary.password

    def promote(self) -> None:
        """Make it a primary; returns once it is."""
        with self.connect() as connection:
            connection.execute("SELECT pg_promote()")

    def await_slot(self) -> None:
        """Wait until the primary's slot of ours is kept here for good (PostgreSQL 17 and later); both servers are spurred on."""
        with self.connect() as here, self._primary.connect() as there:
            wait_until(lambda: self._kept(here, there), 120, "the standby keeping our slot")

    def _kept(self, here: psycopg.Connection[Any], there: psycopg.Connection[Any]) -> bool:
        there.execute("SELECT pg_log_standby_snapshot()")  # lets the slot move on
        here.execute("SELECT pg_reload_conf()")  # wakes the worker that keeps the slots
        time.sleep(0.3)
        return here.execute(SYNCED).fetchone() == (True,)

    def _initdb(self, auth: list[str]) -> None:
        """In place of a new cluster, a copy of the primary that goes on as its standby."""
        goal, origin = ["-D", str(self._home / "data")], ["-d", self._primary.dsn(), "-C", "-S", STANDBY_SLOT]
        command = [str(self._bin / "pg_basebackup"), *goal, *origin, "-R", "-c", "fast"]
        environment = {**os.environ, "PGPASSWORD": self.password}
        made = subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/", check=False, **self._identity)
        if made.returncode != 0:
            raise ClusterError(f"pg_basebackup failed: {made.stderr[-2000:]}")


def caught_up(primary: PrivatePostgres, standby: Standby) -> None:
    """Wait until the standby has all that the primary has written up to now."""
    with primary.connect() as connection:
        row = connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchone()
    assert row is not None
    with psycopg.connect(standby.dsn()) as connection:
        behind = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        wait_until(lambda: connection.execute(behind, row).fetchone() == (True,), 60, "the standby catching up")
