"""`headwater init`: made once, shown once, secrets nowhere in the clear."""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path

import pytest

from tests.databases import Database
from tests.programs import headwater, initialised

MEMBERS = {"project_id", "instance_id", "app_id", "domain_name", "user_name", "password", "access_key", "secret_key"}


def test_init_tells_everything_that_a_client_needs(tmp_path: Path) -> None:
    made = initialised(tmp_path / "data")
    assert made.keys() >= MEMBERS
    assert all(made[name] for name in MEMBERS)
    assert re.fullmatch("[0-9a-f]{32}", made["project_id"])
    assert str(uuid.UUID(made["instance_id"])) == made["instance_id"]


def test_a_second_init_changes_nothing_and_shows_no_secret(tmp_path: Path) -> None:
    first = initialised(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = headwater("init", "--data-dir", str(tmp_path))
    as_json = initialised(tmp_path)
    assert again.returncode == 0
    assert "nothing was changed" in again.stdout
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    for secret in ("password", "secret_key"):
        assert first[secret] not in again.stdout
        assert as_json[secret] is None
    assert {name: as_json[name] for name in ("project_id", "instance_id", "app_id")} == {
        name: first[name] for name in ("project_id", "instance_id", "app_id")
    }


def test_secrets_lie_nowhere_in_the_clear_and_files_are_the_owners_alone(tmp_path: Path) -> None:
    made = initialised(tmp_path / "data")
    for path in (tmp_path / "data").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path
        assert made["secret_key"].encode() not in path.read_bytes()
        assert made["password"].encode() not in path.read_bytes()
    key = (tmp_path / "data" / "secret.key").read_bytes().strip()
    assert key not in (tmp_path / "data" / "headwater.db").read_bytes()
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0


def test_an_init_that_was_killed_after_the_key_is_completed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / "secret.key").touch(mode=0o600)
    (tmp_path / "secret.key").write_text("k" * 64)
    assert initialised(tmp_path)["created"] is True
    assert (tmp_path / "secret.key").read_text() == "k" * 64


def test_a_lost_key_is_not_replaced_by_another(tmp_path: Path) -> None:
    initialised(tmp_path)
    (tmp_path / "secret.key").unlink()
    again = headwater("init", "--data-dir", str(tmp_path))
    assert again.returncode == 2
    assert "put the file back" in again.stderr
    assert not (tmp_path / "secret.key").exists()


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    initialised(tmp_path)
    (tmp_path / "secret.key").chmod(0o644)
    again = headwater("init", "--data-dir", str(tmp_path))
    assert again.returncode == 2
    assert "chmod 600" in again.stderr


def test_a_key_in_the_environment_needs_no_file(tmp_path: Path) -> None:
    made = initialised(tmp_path, environment={"HEADWATER_ENCRYPTION_KEY": "a key of more than thirty-two characters"})
    assert made["created"] is True
    assert not (tmp_path / "secret.key").exists()


@pytest.mark.parametrize("as_json", [True, False])
def test_metadata_may_live_in_postgresql(tmp_path: Path, newest_database: Database, as_json: bool) -> None:
    arguments = ["init", "--data-dir", str(tmp_path), "--database-url", newest_database.url]
    made = headwater(*arguments, *(["--json"] if as_json else []))
    assert made.returncode == 0, made.stderr
    assert not (tmp_path / "headwater.db").exists()
    assert newest_database.rows("SELECT count(*) > 5 FROM pg_tables WHERE schemaname = 'public'") == [(True,)]
    if as_json:
        assert json.loads(made.stdout)["created"] is True
    else:
        assert "not shown again" in made.stdout


def test_a_database_that_can_not_be_reached_is_told_without_its_password(tmp_path: Path) -> None:
    made = headwater("init", "--data-dir", str(tmp_path), "--database-url", "postgresql://someone:hidden-word@127.0.0.1:1/nothing")
    assert made.returncode == 1
    assert made.stderr.startswith("headwater: The metadata store")
    assert "hidden-word" not in made.stderr


def test_the_data_directory_must_be_named() -> None:
    made = headwater("init")
    assert made.returncode == 2
    assert "--data-dir or HEADWATER_DATA_DIR" in made.stderr


def test_a_data_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    made = headwater("init", "--data-dir", str(tmp_path / "file" / "below"))
    assert made.returncode == 2
    assert "can't be made" in made.stderr
