"""Start, stop, reset and delete of one task at once, from many clients: clear refusals, nothing lost, nothing half done."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from headwater.client import ApiError, Client
from tests.databases import Database, wait_until
from tests.programs import Service, follow, initialised

TABLE = "CREATE TABLE kept (id bigint PRIMARY KEY, word text)"
ROUNDS = 6
CLIENTS = 4

REFUSALS = {"FDI.3023", "FDI.3026", "FDI.3028", "FDI.3033", "FDI.3180", "FDI.3021"}
"""Running, can't be started now, worker still ending, moment not within reach (yet), and deleted meanwhile."""


def tried(action: Callable[[], object]) -> str:
    """The code of the refusal; empty where it worked."""
    try:
        action()
    except ApiError as error:
        return error.code
    return ""


def hammer(service: Service, task_id: str, seed: int) -> set[str]:
    """Do things to the task in an order of its own; the codes of the refusals."""
    order = random.Random(seed)
    with service.client() as client:
        wishes: list[Callable[[], object]] = [
            lambda: client.start(task_id),
            lambda: client.stop(task_id),
            lambda: client.reset(task_id),
            lambda: client.reset(task_id, round(time.time() * 1000) - 500),
            lambda: client.task(task_id),
        ]
        return {tried(order.choice(wishes)) for _ in range(ROUNDS)} - {""}


def deleted(client: Client, task_id: str) -> bool:
    """Try to delete; where that is refused ask for a stop, so that the next try has a chance. True once it is gone."""
    code = tried(lambda: client.delete_task(task_id))
    if code in ("", "FDI.3180"):
        return True
    assert code in REFUSALS
    assert tried(lambda: client.stop(task_id)) in REFUSALS | {""}
    return False


def let_go(client: Client, data_source_id: str) -> bool:
    """Try to delete a data source; refused while what we made at the source is still to be dropped."""
    code = tried(lambda: client.delete_data_source(data_source_id))
    assert code in ("", "FDI.3033", "FDI.3016")
    return not code


@pytest.mark.slow
def test_many_hands_on_one_task(tmp_path: Path, source_database: Database, target_database: Database) -> None:
    for database in (source_database, target_database):
        database.run(TABLE)
    source_database.run("INSERT INTO kept SELECT i, 'before' FROM generate_series(1, 200) AS i")
    access = initialised(tmp_path)
    with Service(tmp_path, access) as service, service.client() as client, ThreadPoolExecutor(CLIENTS) as pool:
        task_id = follow(client, access["app_id"], source_database, target_database)
        hands = [pool.submit(hammer, service, task_id, seed) for seed in range(CLIENTS)]
        for number in range(20):
            source_database.run(f"UPDATE kept SET word = 'v{number}' WHERE id % 20 = {number}")
        assert set().union(*(hand.result() for hand in hands)) <= REFUSALS

        if client.task(task_id)["status"] != "running":
            client.start(task_id)
        expected = source_database.rows("SELECT * FROM kept ORDER BY id")
        wait_until(lambda: target_database.rows("SELECT * FROM kept ORDER BY id") == expected, 90, "the target to be equal")
        last = client.task(task_id)["detail"]["last_reset"]
        assert last is None or last["outcome"] in ("done", "refused"), last

        hands = [pool.submit(hammer, service, task_id, 100 + seed) for seed in range(CLIENTS - 1)]
        deleting = pool.submit(wait_until, lambda: deleted(client, task_id), 90, "the task to be deleted")
        assert set().union(*(hand.result() for hand in hands)) <= REFUSALS
        deleting.result()
        assert client.tasks() == []
        assert client.monitors() == []
        for data_source in client.data_sources():
            wait_until(partial(let_go, client, data_source["datasource_id"]), 60, "the data source to be let go")
        assert source_database.rows("SELECT slot_name FROM pg_replication_slots") == []
