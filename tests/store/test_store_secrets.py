"""Secrets at rest (P10): unreadable in the file, bound to their row and column, and useless without the right key."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.ports.store import AccessKey, DataSource, Scope, User
from headwater.store import SqlStore, StoreError, migrate
from headwater.store.secrets import SecretBox

KEY = b"a secret key of thirty-two bytes"
SCOPE = Scope("p" * 32, "instance")
PASSWORD = "correct-horse-battery"
SECRET_KEY = "A-Secret-Key-That-Signs-Requests"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A store's file with two data sources and a user in it."""
    path = tmp_path / "metadata.db"
    migrate(f"sqlite:///{path}")
    store = SqlStore(f"sqlite:///{path}", KEY)
    first = DataSource("first", SCOPE, "app", "first", "POSTGRESQL", "", {}, {"password": PASSWORD}, 0, 0)
    store.save_data_source(first)
    store.save_data_source(replace(first, id="second"))
    user = User("u", "d", "domain", "admin", "hash", SCOPE, "app", "app", "project")
    store.create_user(user, AccessKey("AK", SECRET_KEY, "u"))
    store.close()
    return path


def opened(path: Path, key: bytes = KEY) -> SqlStore:
    return SqlStore(f"sqlite:///{path}", key)


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(statement)
        connection.commit()


def test_the_file_holds_no_secret_in_the_clear(file: Path) -> None:
    held = b"".join(one.read_bytes() for one in file.parent.iterdir())
    assert PASSWORD.encode() not in held
    assert SECRET_KEY.encode() not in held
    assert b"POSTGRESQL" in held, "this looks at the right bytes"


def test_equal_secrets_look_different(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        cells = [row[0] for row in connection.execute("SELECT secrets FROM data_sources")]
    assert len(set(cells)) == 2


def test_a_cell_moved_to_another_row_does_not_open(file: Path) -> None:
    execute(file, "UPDATE data_sources SET secrets = (SELECT secrets FROM data_sources WHERE id = 'first') WHERE id = 'second'")
    with closing(opened(file)) as store:
        found = store.data_source("first")
        assert found is not None
        assert found.secrets == {"password": PASSWORD}
        with pytest.raises(StoreError, match="changed or moved") as refused:
            store.data_source("second")
    assert refused.value.kind == "store_key"


def test_a_cell_moved_to_another_column_does_not_open(file: Path) -> None:
    execute(file, "UPDATE data_sources SET secrets = (SELECT secret_key FROM access_keys)")
    with closing(opened(file)) as store, pytest.raises(StoreError, match="changed or moved"):
        store.data_source("first")


def test_another_key_is_named_and_opens_nothing(file: Path) -> None:
    with closing(opened(file, b"another secret key, 32 bytes lon")) as store:
        with pytest.raises(StoreError, match="put back the secret key file"):
            store.data_source("first")
        with pytest.raises(StoreError, match="put back the secret key file"):
            store.access_key("AK")


def test_a_short_key_is_refused() -> None:
    with pytest.raises(StoreError, match="at least 32"):
        SecretBox(b"short")


def test_every_changed_byte_is_noticed() -> None:
    box = SecretBox(KEY)
    sealed = box.seal(b"value", "table.column.row")
    assert box.open(sealed, "table.column.row") == b"value"
    for at in range(len(sealed)):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(StoreError):
            box.open(changed, "table.column.row")


def test_errors_hold_no_values(file: Path) -> None:
    with closing(opened(file)) as store:
        user = User("u2", "d", "domain", "admin", "hash", SCOPE, "app", "app", "project")
        with pytest.raises(StoreError) as refused:
            store.create_user(user, AccessKey("AK2", SECRET_KEY, "u2"))
    assert "admin" not in str(refused.value)
    assert refused.value.__suppress_context__
