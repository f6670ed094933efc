"""The schema: migrations lead to exactly what the code declares, `check` lets only that through, and `migrate` may be called twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

from headwater.domain.errors import HeadwaterError
from headwater.store import SqlStore, StoreError, check, migrate
from headwater.store.connect import connect
from headwater.store.schema import metadata
from tests.databases import Database


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database; PostgreSQL at its oldest and its newest."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'metadata.db'}"
    else:
        database: Database = request.getfixturevalue("newest_database")
        yield database.url


def differences(url: str) -> list[object]:
    engine = connect(url)
    try:
        with engine.begin() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
            return list(compare_metadata(context, metadata))
    finally:
        engine.dispose()


def change(url: str, statement: str) -> None:
    engine = connect(url)
    try:
        with engine.begin() as connection:
            connection.execute(text(statement))
    finally:
        engine.dispose()


def test_migrations_lead_to_the_declared_schema(url: str) -> None:
    migrate(url)
    assert differences(url) == []


def test_migrations_lead_to_the_declared_schema_on_the_oldest_and_newest_server(database: Database) -> None:
    migrate(database.url)
    assert differences(database.url) == []


def test_the_comparison_finds_what_differs(url: str) -> None:
    migrate(url)
    change(url, "DROP INDEX ix_mappings_task_id")
    change(url, "ALTER TABLE tasks ADD COLUMN surplus TEXT")
    assert len(differences(url)) == 2


def test_check_asks_for_init_until_it_ran(url: str) -> None:
    with pytest.raises(StoreError, match="headwater init") as refused:
        check(url)
    assert refused.value.kind == "store_schema"
    migrate(url)
    check(url)
    migrate(url)
    check(url)


def test_checking_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        check(f"sqlite:///{tmp_path / 'nothing.db'}")
    assert list(tmp_path.iterdir()) == []


def test_an_older_schema_is_refused(url: str) -> None:
    migrate(url)
    change(url, "DELETE FROM alembic_version")
    with pytest.raises(StoreError, match="headwater init"):
        check(url)


def test_a_newer_schema_is_refused_and_left_alone(url: str) -> None:
    migrate(url)
    change(url, "UPDATE alembic_version SET version_num = '9999'")
    for refused in (check, migrate):
        with pytest.raises(StoreError, match="newer"):
            refused(url)


def test_two_inits_at_once_make_one_schema(url: str) -> None:
    errors: list[Exception] = []

    def work() -> None:
        try:
            migrate(url)
        except HeadwaterError as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    check(url)


@pytest.mark.parametrize("wrong", ["", "nonsense", "mysql://u:secret@h/d", "sqlite://", "sqlite:///", "postgresql+asyncpg://u:secret@h/d"])
def test_a_wrong_address_is_named_without_its_password(wrong: str) -> None:
    with pytest.raises(StoreError) as refused:
        SqlStore(wrong, b"k" * 32)
    assert "sqlite:///PATH" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    store = SqlStore("postgresql://someone:hidden@127.0.0.1:1/none", b"k" * 32)
    with pytest.raises(StoreError) as refused:
        store.ping()
    assert refused.value.kind == "store_unavailable"
    assert "hidden" not in str(refused.value)
    store.close()
