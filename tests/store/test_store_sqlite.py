"""What keeps SQLite metadata safe: a rollback journal, full sync, immediate transactions, and runs that don't grow for ever."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import text

from headwater.ports.store import Reset, Run, Scope, Task
from headwater.store import SqlStore, history, migrate
from headwater.store.connect import connect

TASK = Task(
    "task", Scope("p", "i"), "name", "REALTIME", "", "", frozenset(), None, None, "", "", True, False, "saved", "", "", 0, False, 0, 0, {}
)  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "metadata.db"
    migrate(f"sqlite:///{made}")
    return made


@pytest.fixture
def store(path: Path) -> Iterator[SqlStore]:
    made = SqlStore(f"sqlite:///{path}", b"k" * 32)
    yield made
    made.close()


def test_the_database_is_set_up_for_one_writer_that_may_be_killed(path: Path) -> None:
    engine = connect(f"sqlite:///{path}")
    with engine.begin() as connection:
        found = {name: connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("journal_mode", "synchronous", "foreign_keys")}
    engine.dispose()
    assert found == {"journal_mode": "delete", "synchronous": 2, "foreign_keys": 1}


def test_every_transaction_takes_the_write_lock_at_once(path: Path) -> None:
    """Deferred transactions that write after reading fail under load (trap 1)."""
    engine = connect(f"sqlite:///{path}")
    with engine.begin(), closing(sqlite3.connect(path, timeout=0)) as other, pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    engine.dispose()


def test_many_threads_and_another_process_lose_nothing(store: SqlStore, path: Path) -> None:
    store.save_task(TASK)
    other = SqlStore(f"sqlite:///{path}", b"k" * 32)  # a pool of its own, as `init` beside `serve` has
    errors: list[BaseException] = []

    def work(of: SqlStore) -> None:
        try:
            for _ in range(25):
                of.next_epoch("task")
        except BaseException as error:
            errors.append(error)
            raise

    threads = [threading.Thread(target=work, args=(of,)) for of in (store, other) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    found = store.task("task")
    assert found is not None
    assert errors == []
    assert found.epoch == 200


def test_the_oldest_runs_are_dropped(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "RUNS_KEPT", 10)
    store.save_task(TASK)
    for number in range(15):
        store.save_run(Run(f"r{number}", "task", number, 0, None, "running", "", {}))
    found = store.runs("task", 100)
    assert len(found) == 10
    assert (found[0].id, found[-1].id) == ("r14", "r5")


def test_the_oldest_resets_are_dropped_but_none_that_is_still_to_come(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "RESETS_KEPT", 3)
    store.save_task(TASK)
    for number in range(8):
        outcome = "accepted" if number == 1 else "refused"
        store.save_reset(Reset(f"x{number}", "task", "me", 0, None, None, None, None, 0, outcome, "", 0))
    assert [reset.id for reset in store.resets("task")] == ["x7", "x6", "x5", "x1"]
