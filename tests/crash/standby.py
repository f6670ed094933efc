"""A standby of a private server, to be promoted: made by `pg_basebackup`, streaming over a slot of its own."""

from __future__ import annotations

import os
import subprocess

import psycopg

from headwater.clusters import ClusterError, PrivatePostgres
from tests.databases import wait_until

STANDBY_SLOT = "standby"
SYNCED = "SELECT count(*) > 0 FROM pg_replication_slots WHERE slot_name LIKE 'headwater%' AND synced AND NOT temporary"


class Standby(PrivatePostgres):
    """Follows `primary` from its start on, and keeps that one's failover slots where `keeps_slots` (PostgreSQL 17 and later)."""

    def __init__(self, primary: PrivatePostgres, keeps_slots: bool) -> None:
        settings = {**primary.settings, "hot_standby_feedback": "on"}
        settings.pop("port", None)
        if keeps_slots:
            settings["sync_replication_slots"] = "on"
        super().__init__(primary.installation, settings=settings)
        self._primary = primary
        self.password = primary.password

    def promote(self) -> None:
        """Make it a primary; returns once it is."""
        with self.connect() as connection:
            connection.execute("SELECT pg_promote()")

    def holds_our_slot(self) -> bool:
        """True once the primary's slot of ours stands here for good."""
        with self.connect() as connection:
            return connection.execute(SYNCED).fetchone() == (True,)

    def _initdb(self, auth: list[str]) -> None:
        """In place of a new cluster, a copy of the primary that goes on as its standby."""
        command = [
            self._bin / "pg_basebackup",
            "-D",
            self._home / "data",
            "-d",
            self._primary.dsn(),
            "-R",
            "-C",
            "-S",
            STANDBY_SLOT,
            "-c",
            "fast",
        ]
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
