"""`headwater task verify --repair` against a real service between two real servers, and a verification that a reset wishes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from headwater.client import Client
from tests.databases import wait_until
from tests.pairs import Sides, on
from tests.programs import Service, follow, headwater, initialised, state

TABLE = "CREATE TABLE kept (id bigint PRIMARY KEY, word text)"


@on("oldest-newest", "mysql-mariadb")
def test_a_damaged_target_is_found_repaired_and_verified_after_a_reset(tmp_path: Path, sides: Sides) -> None:
    source, target = sides
    (tmp_path / "headwater.toml").write_text("[verify]\nafter_reset = true\n")
    source.run(TABLE, f"INSERT INTO kept SELECT i, concat('w', i) FROM {source.series(1, 500)}")
    target.run(TABLE)
    made = initialised(tmp_path)
    with Service(tmp_path, made) as service, service.client() as client:
        task_id = follow(client, made["app_id"], source, target)
        wait_until(lambda: state(client, task_id) == "following", 60, "it follows")
        target.run("DELETE FROM kept WHERE id = 7", "UPDATE kept SET word = 'wrong' WHERE id = 9")
        access = {f"HEADWATER_{name.upper()}": str(made[name]) for name in ("access_key", "secret_key", "project_id", "instance_id")}
        environment = {**access, "HEADWATER_ENDPOINT": service.address, "COLUMNS": "200"}
        told = headwater("task", "verify", task_id, "--repair", environment=environment)
        assert told.returncode == 0, told.stdout + told.stderr
        assert all(words in told.stdout for words in ("repaired", "(7): missing, repaired", "(9): differing, repaired"))
        assert target.rows("SELECT count(*) FROM kept WHERE word = concat('w', id)") == [(500,)]
        client.reset(task_id)
        newest = wait_until(lambda: _ended_after_reset(client, task_id), 60, "the verification after the reset")
        assert newest is not None
        assert (newest["outcome"], newest["tables"][0]["rows"]) == ("equal", 500), json.dumps(newest)


def _ended_after_reset(client: Client, task_id: str) -> dict[str, Any] | None:
    return next((v for v in client.verifications(task_id) if v["after_reset"] and v["ended_ms"]), None)
