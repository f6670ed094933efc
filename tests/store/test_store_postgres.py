"""The metadata store on PostgreSQL when its server goes away and comes back."""

from __future__ import annotations

import pytest

from headwater.ports.store import Scope, Task
from headwater.store import SqlStore, StoreError, check, migrate
from tests.conftest import ClusterFactory
from tests.databases import Database

TASK = Task(
    "task", Scope("p", "i"), "name", "REALTIME", "", "", frozenset(), None, None, "", "", True, False, "saved", "", "", 0, False, 0, 0, {}
)  # fmt: skip


def test_broken_connections_are_replaced_without_a_word(newest_database: Database) -> None:
    migrate(newest_database.url)
    store = SqlStore(newest_database.url, b"k" * 32)
    store.save_task(TASK)
    with newest_database.connect() as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert store.next_epoch("task") == 1
    store.close()


def test_a_server_that_is_down_is_told_and_found_again(make_cluster: ClusterFactory) -> None:
    cluster = make_cluster()
    migrate(cluster.url())
    store = SqlStore(cluster.url(), b"k" * 32)
    store.save_task(TASK)
    cluster.stop()
    for call in (store.ping, lambda: store.next_epoch("task"), lambda: check(cluster.url())):
        with pytest.raises(StoreError) as refused:
            call()
        assert refused.value.kind == "store_unavailable"
        assert cluster.password not in str(refused.value)
    cluster.start()
    assert store.next_epoch("task") == 1
    store.close()
