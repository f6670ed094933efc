"""A column renamed under a running service: the task stops, `headwater task remap` repairs it, and a reset goes back to before it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from headwater.client import Client
from headwater.clusters import PrivatePostgres
from tests.databases import Database, wait_until
from tests.exactness.exact_world import moment
from tests.programs import Service, follow, headwater, initialised

TABLE = "CREATE TABLE kept (id bigint PRIMARY KEY, word text, note text)"


def test_rows_of_the_old_shape_are_fitted_to_the_mapping_of_today(
    tmp_path: Path, newest_cluster: PrivatePostgres, make_database: Callable[[PrivatePostgres], Database]
) -> None:
    source, target = make_database(newest_cluster), make_database(newest_cluster)
    source.run(TABLE, "INSERT INTO kept SELECT i, 'copied', 'note' FROM generate_series(1, 100) i")
    target.run(TABLE)
    made = initialised(tmp_path)
    with Service(tmp_path, made) as service, service.client() as client:
        access = {f"HEADWATER_{name.upper()}": str(made[name]) for name in ("access_key", "secret_key", "project_id", "instance_id")}
        environment = {**access, "HEADWATER_ENDPOINT": service.address}

        def cli(*arguments: str) -> None:
            told = headwater("task", *arguments, environment=environment)
            assert told.returncode == 0, told.stdout + told.stderr

        task_id = follow(client, made["app_id"], source, target)
        before = moment(source)
        source.run("UPDATE kept SET word = 'old shape', note = 'changed' WHERE id <= 50")
        with source.connect(autocommit=False) as connection:
            connection.execute("ALTER TABLE kept RENAME COLUMN word TO term")
            connection.execute("ALTER TABLE kept DROP COLUMN note")
            connection.execute("INSERT INTO kept VALUES (101, 'new shape')")
        wait_until(lambda: detail(client, task_id)["state"] == "failed", 60, "the task stops")
        assert detail(client, task_id)["error_kind"] == "schema_mismatch"
        assert "kept" in detail(client, task_id)["message"]
        assert target.rows("SELECT word, note, count(*) FROM kept GROUP BY 1, 2 ORDER BY 1") == [
            ("copied", "note", 50),
            ("old shape", "changed", 50),
        ], "all before the change, and nothing of it"

        cli("remap", "task", "public.kept", "--map", "term=word", "--unmap", "note")
        cli("start", "task")
        wait_until(lambda: equal(source, target), 60, "it goes on from there")
        assert target.rows("SELECT count(*) FROM kept WHERE note IS NOT NULL") == [(100,)], "nothing was copied again"

        target.run("UPDATE kept SET word = 'wrong' WHERE id <= 40 OR id IN (60, 101)")
        client.reset(task_id, before)
        wait_until(lambda: [key for (key,) in target.rows("SELECT id FROM kept WHERE word = 'wrong'")] == [60], 60, "the replay")
        target.run("UPDATE kept SET word = 'copied' WHERE id = 60")
        assert equal(source, target)
        wait_until(lambda: detail(client, task_id)["state"] == "following", 60, "it follows")


def detail(client: Client, task_id: str) -> dict[str, Any]:
    """What the service tells of the task."""
    found: dict[str, Any] = client.task(task_id)["detail"]
    return found


def equal(source: Database, target: Database) -> bool:
    """Whether the target has the words of the source under their old name."""
    return source.rows("SELECT id, term FROM kept ORDER BY 1") == target.rows("SELECT id, word FROM kept ORDER BY 1")
