"""`headwater task create-tables` against a real service: the tables are made, mapped, and the task follows."""

from __future__ import annotations

from pathlib import Path

from headwater.clusters import PrivatePostgres
from tests.conftest import DatabaseFactory
from tests.databases import MysqlDatabase, content, wait_until
from tests.programs import Service, headwater, initialised, state

TABLES = (
    "CREATE TABLE kept (id bigint, part text, at timestamptz(3) DEFAULT now(), PRIMARY KEY (id, part))",
    "CREATE TABLE loose (word varchar(20))",
    "ALTER TABLE loose REPLICA IDENTITY FULL",
    "INSERT INTO kept SELECT i, 'ä' || i, '2026-01-01 10:00:00+02' FROM generate_series(1, 200) i",
)


def test_tables_are_made_in_mariadb_and_followed(
    tmp_path: Path, newest_cluster: PrivatePostgres, mariadb_database: MysqlDatabase, make_database: DatabaseFactory
) -> None:
    source = make_database(newest_cluster)
    source.run(*TABLES)
    made = initialised(tmp_path)
    with Service(tmp_path, made) as service, service.client() as client:
        ends = [client.create_data_source(one.name, one.type, made["app_id"], content(one)) for one in (source, mariadb_database)]
        task_id = client.create_task("shop", client.init_task(*(one["datasource_id"] for one in ends))["task_id"])
        access = {f"HEADWATER_{name.upper()}": str(made[name]) for name in ("access_key", "secret_key", "project_id", "instance_id")}
        environment = {**access, "HEADWATER_ENDPOINT": service.address}
        shown = headwater("task", "create-tables", "shop", "--dry-run", environment=environment)
        assert (shown.returncode, shown.stderr) == (0, "")
        assert f"-- public.kept -> {mariadb_database.name}.kept\n-- part: a key of text becomes varchar(760)" in shown.stdout
        assert "Nothing was created" in shown.stdout
        assert mariadb_database.rows("SHOW TABLES") == []
        told = headwater("task", "create-tables", "shop", "--map", environment=environment)
        assert told.returncode == 0, told.stdout + told.stderr
        assert told.stdout.endswith("-- 2 of 2 tables were created.\n-- The task has 2 mappings.\n")
        client.start(task_id)
        wait_until(lambda: state(client, task_id) == "following", 90, "the task to follow")
        assert mariadb_database.rows("SELECT count(*), min(part), CAST(max(at) AS CHAR) FROM kept") == [
            (200, "ä1", "2026-01-01 08:00:00.000")
        ]
        again = headwater("task", "create-tables", "shop", environment=environment)
        assert (again.returncode, again.stdout) == (0, "No target table is missing.\n")
        wrong = headwater("task", "create-tables", "shop", "--table", "public.nothing", environment=environment)
        assert wrong.returncode == 1
        assert "no table public.nothing" in wrong.stderr
