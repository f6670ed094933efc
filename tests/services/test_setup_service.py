"""`headwater init`: the first access is made once, its secrets are told once, and they work."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from headwater.services.setup import FirstAccess, initialise
from headwater.store import SqlStore, migrate
from tests.databases import Database


@pytest.fixture(params=["sqlite", "postgres"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SqlStore]:
    database: Database | None = request.getfixturevalue("newest_database") if request.param == "postgres" else None
    url = database.url if database else f"sqlite:///{tmp_path / 'metadata.db'}"
    migrate(url)
    made = SqlStore(url, b"k" * 32)
    yield made
    made.close()


def test_the_first_access_has_the_documented_shapes(store: SqlStore) -> None:
    made = initialise(store)
    assert made.created
    assert re.fullmatch(r"[0-9a-f]{32}", made.project_id)
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", made.instance_id)
    assert made.app_id
    assert re.fullmatch(r"[A-Z0-9]{20}", made.access_key or "")
    assert re.fullmatch(r"[A-Za-z0-9]{40}", made.secret_key or "")
    assert len(made.password or "") >= 20


def test_what_was_told_works(store: SqlStore) -> None:
    made = initialise(store)
    user = store.user_by_name(made.domain_name, made.user_name)
    assert user is not None
    assert (user.scope.project_id, user.scope.instance_id, user.app_id) == (made.project_id, made.instance_id, made.app_id)
    assert PasswordHasher().verify(user.password_hash, made.password or "")
    key = store.access_key(made.access_key or "")
    assert key is not None
    assert (key.secret_key, key.user_id) == (made.secret_key, user.id)


def test_a_second_call_changes_nothing_and_tells_no_secret(store: SqlStore) -> None:
    first = initialise(store)
    before = (store.first_user(), store.access_key(first.access_key or ""))
    second = initialise(store)
    assert not second.created
    assert (second.password, second.access_key, second.secret_key) == (None, None, None)
    assert (second.project_id, second.instance_id, second.app_id) == (first.project_id, first.instance_id, first.app_id)
    assert (second.domain_name, second.user_name) == (first.domain_name, first.user_name)
    assert (store.first_user(), store.access_key(first.access_key or "")) == before


def test_two_calls_at_once_make_one_access(store: SqlStore) -> None:
    made: list[FirstAccess] = []
    threads = [threading.Thread(target=lambda: made.append(initialise(store))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [one.created for one in made].count(True) == 1
    assert len({one.project_id for one in made}) == 1


def test_secrets_are_not_in_the_representation(store: SqlStore) -> None:
    made = initialise(store)
    assert str(made.password) not in repr(made)
    assert str(made.secret_key) not in repr(made)
