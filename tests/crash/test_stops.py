"""Faults that a person has to act on: the task stops with the reason and the next step, and that step heals it."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headwater.domain.failures import policy
from tests.conftest import BOTH, ClusterFactory
from tests.crash.faults import SIDES, Side
from tests.crash.stage import Setting, Stage, stage, staged
from tests.databases import AnyDatabase, Database, wait_until
from tests.pairs import Sides

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(900)]

SLOT = "SELECT slot_name, active_pid FROM pg_replication_slots WHERE slot_name LIKE 'headwater%'"
LOST = "SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'lost'"


def test_stops(tmp_path: Path, make_cluster: ClusterFactory) -> None:
    """One after the other on one stage; at the end everything is equal."""
    with stage(tmp_path, make_cluster(BOTH[-1]), make_cluster(BOTH[0]), Setting()) as made:
        for side in SIDES:
            password_changed(made, side)
        slot_dropped(made)
        slot_invalidated(made)
        journal_damaged(made)
        made.finish(ledger=False)
        made.leave()


@pytest.mark.parametrize(("pair", "passwords"), [("mariadb-mariadb", SIDES), ("mysql-newest", ())])
def test_stops_of_a_binlog(pair: str, passwords: tuple[Side, ...], tmp_path: Path, make_own_sides: Callable[[str], Sides]) -> None:
    """What only MariaDB and MySQL can do to whoever follows their log."""
    with staged(tmp_path, *make_own_sides(pair), Setting(archive_rows=8_000)) as made:
        for side in passwords:
            password_changed(made, side)
        log_purged(made)
        log_begun_anew(made)
        made.finish(ledger=False)
        made.leave()


def log_purged(made: Stage[Any]) -> None:
    """The server removes log that we have not read; its dump threads hold what they read, so ours has to be gone first."""
    with made.headwater.frozen("capture"):
        made.sides["source"].end_sessions()
        before = [writer.made for writer in made.writers]
        made.source.run("FLUSH BINARY LOGS")
        wait_until(lambda: all(writer.made > made for writer, made in zip(made.writers, before, strict=True)), 30, "more log")
        made.source.run("FLUSH BINARY LOGS")
        ((newest, *_),) = made.source.rows("SHOW BINARY LOGS")[-1:]
        wait_until(lambda: _purged(made.source, str(newest)), 30, "the log being purged")
    _copied_again_after(made, "slot_lost", str(newest))


def _purged(source: AnyDatabase, newest: str) -> bool:
    source.run(f"PURGE BINARY LOGS TO '{newest}'")
    return len(source.rows("SHOW BINARY LOGS")) == 1


def log_begun_anew(made: Stage[Any]) -> None:
    """All log is removed, and its numbers begin again."""
    made.sides["source"].end_sessions()
    server = made.source.cluster.installation
    made.source.run("RESET BINARY LOGS AND GTIDS" if server.flavour == "mysql" and server.version >= (8, 2) else "RESET MASTER")
    _copied_again_after(made, "slot_lost", "")


def password_changed(made: Stage[Any], side: Side) -> None:
    """The password of our role is changed under us; the new one comes in through the API."""
    made.sides[side].change_password("second secret")
    message = made.await_failed(f"{side}_refused")
    assert any(words in message for words in ("password authentication failed", "Access denied"))
    assert "secret" not in message
    made.headwater.update_data_source(made.ids[side], side, made.databases[side].type, made.content(side, "second secret"))
    made.headwater.call("start", made.task_id)
    made.await_moved_on()


def slot_dropped(made: Stage) -> None:
    """Somebody drops the slot."""
    wait_until(lambda: _drop_slot(made.source), 60, "dropping the slot")
    _copied_again_after(made, "slot_lost", "")


def _drop_slot(source: Database) -> bool:
    """True once it is dropped: its reader has to be ended first, and comes back soon."""
    with source.connect() as connection, contextlib.suppress(psycopg.errors.ObjectInUse):
        for name, reader in connection.execute(SLOT).fetchall():
            connection.execute("SELECT pg_terminate_backend(%s)", [reader])
            connection.execute("SELECT pg_drop_replication_slot(%s)", [name])
            return True
    return False


def slot_invalidated(made: Stage) -> None:
    """The server removes log that the slot still needs, because it may keep no more."""
    source = made.source
    source.run("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'", "SELECT pg_reload_conf()")
    with made.headwater.frozen("capture"):
        wait_until(lambda: _write_log(source), 90, "the slot losing its log")
    source.run("ALTER SYSTEM RESET max_slot_wal_keep_size", "SELECT pg_reload_conf()")
    _copied_again_after(made, "slot_lost", "")


def _write_log(source: Database) -> bool:
    source.run("SELECT pg_switch_wal()", "CHECKPOINT")
    return bool(source.rows(LOST)[0][0])


def journal_damaged(made: Stage) -> None:
    """Pages of the journal are overwritten while nobody looks; a reset has to read them."""
    made.headwater.kill()
    (journal,) = (made.directory / "journals").glob("*/journal.db")
    with contextlib.closing(sqlite3.connect(journal)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with journal.open("r+b") as file:
        for at in range(journal.stat().st_size // 3, journal.stat().st_size, 4096):
            file.seek(at)
            file.write(b"\x5a" * 16)
    made.headwater.start()
    made.headwater.reset(made.task_id, made.began_ms)
    _copied_again_after(made, "journal_damaged", "")


def _copied_again_after(made: Stage[Any], kind: str, words: str) -> None:
    """The task stops for this reason and names the reset without a time, which heals it."""
    message = made.await_failed(kind)
    assert words in message
    assert "Reset the task without a time" in f"{message} {policy(kind).hint}"
    assert made.headwater.reset(made.task_id, None) == ""
    made.await_moved_on()
