"""`headwater serve`: starts only where it can work, stops cleanly, and its workers never outlive it."""

from __future__ import annotations

import signal
import socket
from pathlib import Path

import httpx
import pytest

from tests.databases import Database, wait_until
from tests.programs import Service, alive, follow, headwater, initialised, state, worker_pids

TABLE = "CREATE TABLE kept (id bigint PRIMARY KEY, word text)"


def test_a_directory_without_metadata_is_refused(tmp_path: Path) -> None:
    told = headwater("serve", "--data-dir", str(tmp_path), "--port", "0")
    assert told.returncode == 1
    assert "headwater init" in told.stderr


@pytest.mark.parametrize("command", [["serve", "--port", "0"], ["init"]], ids=["serve", "init"])
def test_another_key_than_the_metadata_s_is_refused_at_once(tmp_path: Path, command: list[str]) -> None:
    initialised(tmp_path)
    told = headwater(*command, "--data-dir", str(tmp_path), environment={"HEADWATER_ENCRYPTION_KEY": "another key of more than 32 bytes"})
    assert told.returncode == 1
    assert "put back the secret key" in told.stderr
    assert "another key" not in told.stderr


def test_it_is_alive_and_ready_and_stops_cleanly(tmp_path: Path) -> None:
    with Service(tmp_path, initialised(tmp_path)) as service:
        assert httpx.get(f"{service.address}/healthz", trust_env=False).json() == {"status": "ok"}
        assert httpx.get(f"{service.address}/readyz", trust_env=False).json() == {"status": "ready"}
        assert service.stop() == 0
        assert [entry["event"] for entry in service.events()][-2:] == ["stopping", "stopped"]


def test_a_second_service_on_the_same_directory_is_refused(tmp_path: Path) -> None:
    with Service(tmp_path, initialised(tmp_path)):
        told = headwater("serve", "--data-dir", str(tmp_path), "--port", "0")
    assert told.returncode == 2
    assert "Another service runs" in told.stderr


def test_an_address_that_is_taken_is_told(tmp_path: Path) -> None:
    initialised(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = headwater("serve", "--data-dir", str(tmp_path), "--port", str(taken.getsockname()[1]))
    assert told.returncode == 2
    assert "--host and --port" in told.stderr


def test_metadata_in_postgresql_serves_as_well_and_its_loss_is_told_by_readyz(tmp_path: Path, newest_database: Database) -> None:
    made = initialised(tmp_path, "--database-url", newest_database.url)
    with Service(tmp_path, made, "--database-url", newest_database.url) as service:
        with service.client() as client:
            assert client.tasks() == []
        newest_database.drop()
        answer = wait_until(lambda: _not_ready(service.address), what="the loss to be noticed")
        assert answer["status"] == "not ready"
        assert newest_database.cluster.password not in str(answer)


@pytest.mark.slow
@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["asked", "killed"])
def test_workers_end_with_the_service_and_the_next_one_goes_on(
    tmp_path: Path, source_database: Database, target_database: Database, ending: signal.Signals
) -> None:
    for database in (source_database, target_database):
        database.run(TABLE)
    source_database.run("INSERT INTO kept SELECT i, 'before' FROM generate_series(1, 1000) AS i")
    made = initialised(tmp_path)
    with Service(tmp_path, made) as service:
        with service.client() as client:
            task_id = follow(client, made["app_id"], source_database, target_database)
        workers = worker_pids(service.process.pid)
        assert len(workers) == 2, "one capture and one apply"
        service.process.send_signal(ending)
        assert service.process.wait(60) == (0 if ending == signal.SIGTERM else -signal.SIGKILL)
        wait_until(lambda: not any(alive(pid) for pid in workers), what="the workers' end")
    source_database.run("UPDATE kept SET word = 'after' WHERE id % 2 = 0", "DELETE FROM kept WHERE id % 5 = 0")
    with Service(tmp_path, made) as service, service.client() as client:
        expected = source_database.rows("SELECT * FROM kept ORDER BY id")
        wait_until(lambda: target_database.rows("SELECT * FROM kept ORDER BY id") == expected, 60, "the target to be equal")
        wait_until(lambda: state(client, task_id) == "following", 60, "the task to follow again")


@pytest.mark.slow
def test_neither_passwords_nor_row_values_reach_the_log(tmp_path: Path, source_database: Database, target_database: Database) -> None:
    for database in (source_database, target_database):
        database.run(TABLE)
    source_database.run("INSERT INTO kept VALUES (1, 'a-value-of-a-row')")
    made = initialised(tmp_path)
    with Service(tmp_path, made) as service:
        with service.client() as client:
            follow(client, made["app_id"], source_database, target_database)
        target_database.run("ALTER TABLE kept ADD CHECK (word <> 'another-value-of-a-row')")
        source_database.run("INSERT INTO kept VALUES (2, 'another-value-of-a-row')")
        wait_until(lambda: any(entry["event"] == "worker_ended" for entry in service.events()), 60, "the refusal to be logged")
        assert service.stop() == 0
    told = service.log.read_text()
    for discreet in ("value-of-a-row", source_database.cluster.password, target_database.cluster.password, made["secret_key"]):
        assert discreet not in told


def _not_ready(address: str) -> dict[str, object]:
    answer = httpx.get(f"{address}/readyz", trust_env=False)
    return {} if answer.is_success else dict(answer.json())
