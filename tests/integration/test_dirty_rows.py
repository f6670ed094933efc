"""Dirty rows end to end: the service as a process, real servers, the HTTP API and the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from headwater.client import Client
from headwater.clusters import PrivatePostgres
from tests.databases import AnyDatabase, Database, content, wait_until
from tests.pairs import Sides, on
from tests.programs import Service, headwater, initialised

SOURCE = """
CREATE TABLE goods (id bigint PRIMARY KEY, name text, price numeric(12,2), seat int, story text);
ALTER TABLE goods ALTER story SET STORAGE EXTERNAL;
CREATE TABLE parts (id bigint PRIMARY KEY, name text);
"""
TARGET = """
CREATE TABLE goods (id bigint PRIMARY KEY, name varchar(10), price numeric(6,2) CHECK (price >= 0), seat int UNIQUE, story text);
CREATE TABLE parts (id bigint PRIMARY KEY, name text NOT NULL);
"""
ALL = "SELECT id, name, price, seat, length(story) FROM goods ORDER BY id"


class Stage:
    """A service with one task, over a source that takes everything and a target that does not."""

    def __init__(self, service: Service, client: Client, source: AnyDatabase, target: AnyDatabase) -> None:
        self.service, self.client, self.source, self.target = service, client, source, target
        self.task_id = ""

    def start(self, **limits: Any) -> None:
        """Make and start the task, setting aside what is refused."""
        app_id = self.service.access["app_id"]
        ids = [
            self.client.create_data_source(f"{side} {one.name}", one.type, app_id, content(one))["datasource_id"]
            for side, one in (("source", self.source), ("target", self.target))
        ]
        mapped = self.client.init_task(*ids, auto_mapping=True)
        self.task_id = self.client.create_task("shop", mapped["task_id"])
        if limits:
            self.client.set_dirty_rows(self.task_id, "SET_ASIDE", **limits)
        self.client.start(self.task_id)

    def detail(self) -> dict[str, Any]:
        """What the task says of itself."""
        found: dict[str, Any] = self.client.task(self.task_id)["detail"]
        return found

    def await_open(self, count: int) -> list[dict[str, Any]]:
        """Wait until the task follows, and so many rows are set aside; those."""

        def there() -> list[dict[str, Any]]:
            detail = self.detail()
            assert detail["state"] != "failed", detail["message"]
            rows = list(self.client.dirty_rows(self.task_id, rows=True))
            applied = detail["progress"]["lag_transactions"] == 0 and detail["state"] == "following"
            return [{}, *rows] if applied and len(rows) == count and detail["progress"]["dirty_open"] == count else []

        return wait_until(there, 120, f"{count} set-aside rows")[1:]

    def await_same(self, *without: int) -> None:
        """Wait until both sides have the same goods, but for these."""

        def same() -> bool:
            return [r for r in self.source.rows(ALL) if r[0] not in without] == [r for r in self.target.rows(ALL) if r[0] not in without]

        wait_until(same, 120, "the same goods")

    def cli(self, *arguments: str, status: int = 0) -> str:
        """A command; what it printed."""
        names = ("access_key", "secret_key", "project_id", "instance_id")
        environment = {f"HEADWATER_{name.upper()}": str(self.service.access[name]) for name in names}
        ended = headwater(*arguments, environment={**environment, "HEADWATER_ENDPOINT": self.service.address, "COLUMNS": "250"})
        assert ended.returncode == status, ended.stderr
        return ended.stdout


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_from_the_copy_to_the_last_retry(
    tmp_path: Path, newest_cluster: PrivatePostgres, make_database: Callable[[PrivatePostgres], Database]
) -> None:
    source, target = make_database(newest_cluster), make_database(newest_cluster)
    source.run(SOURCE, "INSERT INTO goods SELECT i, 'good ' || i, i, i, repeat('s', 3000) FROM generate_series(1, 2000) AS i")
    source.run("UPDATE goods SET price = -1 WHERE id = 1500; INSERT INTO parts VALUES (1, 'a'), (2, NULL)")
    target.run(TARGET)
    with Service(tmp_path, initialised(tmp_path)) as service, service.client() as client:
        stage = Stage(service, client, source, target)
        stage.start(rows_max=20)
        rows = stage.await_open(2)
        assert {(row["target_table"], row["row"]["id"], row["commit_ms"]) for row in rows} == {
            ("public.goods", "1500", None), ("public.parts", "2", None)
        }  # fmt: skip
        stage.await_same(1500)

        # Followed: rows of one transaction are refused for reasons of their own, seats change hands in a circle, and the rest is written.
        source.run(
            """
            BEGIN;
            UPDATE goods SET name = 'much too long a name' WHERE id = 10;
            INSERT INTO goods VALUES (3001, 'new', 1, 3001), (3002, 'dear', 1000000, 3002), (3003, 'new', 1, 3003);
            UPDATE goods SET seat = CASE id WHEN 20 THEN -20 WHEN 21 THEN -21 END WHERE id IN (20, 21);
            UPDATE goods SET seat = CASE id WHEN 20 THEN 21 WHEN 21 THEN 20 END WHERE id IN (20, 21);
            DELETE FROM goods WHERE id = 30;
            COMMIT
            """
        )
        rows = stage.await_open(4)
        assert {row["row"]["id"] for row in rows if row["commit_ms"]} == {"10", "3002"}
        stage.await_same(10, 1500, 3002)
        assert target.rows("SELECT name FROM goods WHERE id = 10") == [("good 10",)], "the row that stands stays"
        told = " ".join(row["reason"] for row in rows)
        assert all(word in told for word in ("price", "22001", "22003", "23502"))
        assert "much too long" not in told

        # An update that does not send the large unchanged value completes the row that was set aside.
        source.run("UPDATE goods SET price = 15 WHERE id = 1500")
        assert len(stage.await_open(3)) == 3
        stage.await_same(10, 3002)

        # A replay makes none, and loses none.
        run = wait_until(lambda: [run for run in client.logs(stage.task_id)[:1] if run["dirty_data_count"]], what="kept counters")[0]
        assert run["dirty_data_count"] == run["detail_logs"][-1]["dirty_data_count"] == 4
        metrics = httpx.get(f"{service.address}/metrics", trust_env=False).text
        assert re.search(r'headwater_task_rows_total\{[^}]*op="dirty"[^}]*\} 4\.0', metrics)
        window = wait_until(lambda: stage.detail()["window"], what="a window")
        client.reset(stage.task_id, window["earliest_ms"])
        replayed = stage.await_open(3)
        assert {row["id"] for row in replayed} <= {row["id"] for row in rows}
        assert stage.detail()["progress"]["rows_dirty"] == 0

        # Retry, export and discard by the command line.
        by_id = {row["row"]["id"]: row["id"] for row in replayed}
        assert "much too long" not in stage.cli("dirty", "list", "shop")
        exported = [json.loads(line) for line in stage.cli("dirty", "export", "shop").splitlines()]
        assert {line["row"].get("name") for line in exported} == {"much too long a name", "dear", None}
        assert "was refused again" in stage.cli("dirty", "retry", "shop", "--all", status=1)
        target.run("ALTER TABLE goods ALTER name TYPE text")
        assert stage.cli("dirty", "retry", "shop", by_id["10"]) == "1 written.\n"
        stage.await_same(3002)
        assert json.loads(stage.cli("dirty", "discard", "shop", "--all", "--json"))["refused"] == []
        assert list(client.dirty_rows(stage.task_id)) == []
        user = service.access["user_name"]
        settled = {r["id"]: (r["state"], r["settled_by"], r["row"]) for r in client.dirty_rows(stage.task_id, "")}
        assert settled[by_id["10"]] == ("retried", user, None)
        assert settled[by_id["3002"]] == ("discarded", user, None)

        log = service.log.read_text()
        assert "much too long" not in log
        assert "good 10" not in log


@pytest.mark.slow
@pytest.mark.timeout(400)
@on("mysql-mariadb")
def test_between_other_databases(tmp_path: Path, sides: Sides) -> None:
    """Set aside by the copy and by the log, settled by what the source says later, by a person's retry, and by being discarded."""
    source, target = sides
    source.run("CREATE TABLE goods (id bigint PRIMARY KEY, name varchar(50), price decimal(12,2), seat int, story text)")
    source.run(f"INSERT INTO goods SELECT i, concat('good ', i), i, i, 'story' FROM {source.series(1, 300)}")
    source.run("UPDATE goods SET price = 1000000 WHERE id = 150")
    target.run("CREATE TABLE goods (id bigint PRIMARY KEY, name varchar(10), price decimal(6,2), seat int UNIQUE, story text)")
    with Service(tmp_path, initialised(tmp_path)) as service, service.client() as client:
        stage = Stage(service, client, source, target)
        stage.start(rows_max=20)
        (row,) = stage.await_open(1)
        assert (row["target_table"], row["row"]["id"], row["commit_ms"]) == (f"{target.schema}.goods", "150", None)
        stage.await_same(150)

        with source.session() as one:
            one.execute("UPDATE goods SET name = 'much too long a name' WHERE id = 10")
            one.execute(
                "INSERT INTO goods VALUES (3001, 'new', 1, 3001, 's'), (3002, 'dear', 1000000, 3002, 's'), (3003, 'new', 1, 3003, 's')"
            )
            one.execute("UPDATE goods SET seat = CASE id WHEN 20 THEN -20 WHEN 21 THEN -21 END WHERE id IN (20, 21)")
            one.execute("UPDATE goods SET seat = CASE id WHEN 20 THEN 21 WHEN 21 THEN 20 END WHERE id IN (20, 21)")
            one.execute("DELETE FROM goods WHERE id = 30")
            one.commit()
        rows = stage.await_open(3)
        assert {row["row"]["id"] for row in rows if row["commit_ms"]} == {"10", "3002"}
        stage.await_same(10, 150, 3002)
        assert target.rows("SELECT name FROM goods WHERE id = 10") == [("good 10",)], "the row that stands stays"
        assert "much too long" not in " ".join(row["reason"] for row in rows)

        source.run("UPDATE goods SET price = 15 WHERE id = 150")
        assert {row["row"]["id"] for row in stage.await_open(2)} == {"10", "3002"}
        stage.await_same(10, 3002)
        window = wait_until(lambda: stage.detail()["window"], what="a window")
        client.reset(stage.task_id, window["earliest_ms"])
        by_id = {row["row"]["id"]: row["id"] for row in stage.await_open(2)}

        assert "was refused again" in stage.cli("dirty", "retry", "shop", "--all", status=1)
        wider = "ALTER name TYPE text" if target.type == "POSTGRESQL" else "MODIFY name varchar(50)"
        target.run(f"ALTER TABLE goods {wider}")
        assert stage.cli("dirty", "retry", "shop", by_id["10"]) == "1 written.\n"
        stage.await_same(3002)
        assert json.loads(stage.cli("dirty", "discard", "shop", "--all", "--json"))["refused"] == []
        assert list(client.dirty_rows(stage.task_id)) == []
        assert "much too long" not in service.log.read_text()
