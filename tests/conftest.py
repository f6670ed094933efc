"""Private PostgreSQL servers for all tests: the oldest and the newest at hand, started once per test run, never anyone else's.

`postgres` runs a test on both. `source_database` and `target_database` lie on two servers, one of them the newest.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

import headwater
from headwater.clusters import Installation, PrivatePostgres, find_postgres
from tests.databases import Database

INSTALLATIONS = find_postgres()
BOTH = list(dict.fromkeys(INSTALLATIONS[:1] + INSTALLATIONS[-1:]))
_numbers = itertools.count()


class ClusterFactory(Protocol):
    """Starts a private server for one test; arguments as of `PrivatePostgres` (newest installation by default)."""

    def __call__(self, installation: Installation | None = None, **arguments: Any) -> PrivatePostgres: ...


def _free_name() -> str:
    return f"t_{os.getpid()}_{next(_numbers)}"


def pytest_report_header() -> str:
    """Which decoder and which servers the run is about; a compiled decoder that is older than its source must not be tested."""
    compiled = list((Path(headwater.__file__).parent / "wire").glob("*.so"))
    for module in compiled:
        source = module.with_name(module.name.partition(".")[0] + ".py")
        if source.exists() and module.stat().st_mtime < source.stat().st_mtime:
            raise pytest.UsageError(f"{module.name} is older than {source.name}; run `make setup` (or delete it)")
    return f"headwater: {'compiled' if compiled else 'uncompiled'} decoder; servers: {', '.join(map(str, (i.bin for i in BOTH)))}"


@pytest.fixture(scope="session")
def shared_cluster() -> Iterator[Callable[[Installation, str], PrivatePostgres]]:
    """The running server of an installation; the second argument tells servers of one installation apart."""
    running: dict[tuple[Installation, str], PrivatePostgres] = {}
    with ExitStack() as stack:

        def get(installation: Installation, role: str) -> PrivatePostgres:
            if (installation, role) not in running:
                server = PrivatePostgres(installation, settings={"max_prepared_transactions": "20"})
                running[installation, role] = stack.enter_context(server)
            return running[installation, role]

        yield get


@pytest.fixture(scope="session", params=BOTH, ids=lambda installation: installation.name)
def postgres(request: pytest.FixtureRequest, shared_cluster: Callable[[Installation, str], PrivatePostgres]) -> PrivatePostgres:
    """A shared private server: the oldest, then the newest PostgreSQL at hand. Don't stop it; see `make_cluster`."""
    return shared_cluster(request.param, "first")


@pytest.fixture(scope="session")
def other_postgres(postgres: PrivatePostgres, shared_cluster: Callable[[Installation, str], PrivatePostgres]) -> PrivatePostgres:
    """A second shared server, of the other version: oldest with newest, newest with oldest."""
    others = [found for found in BOTH if found != postgres.installation]
    return shared_cluster(others[0], "first") if others else shared_cluster(postgres.installation, "second")


@pytest.fixture(scope="session")
def newest_cluster(shared_cluster: Callable[[Installation, str], PrivatePostgres]) -> PrivatePostgres:
    """The shared server of the newest PostgreSQL, for tests that need only one version."""
    return shared_cluster(BOTH[-1], "first")


@pytest.fixture
def make_database() -> Iterator[Callable[[PrivatePostgres], Database]]:
    """Makes fresh databases in a server; they are dropped after the test, with their slots and connections."""
    with ExitStack() as stack:

        def make(cluster: PrivatePostgres, encoding: str = "UTF8") -> Database:
            database = Database.create(cluster, _free_name(), encoding)
            stack.callback(database.drop)
            return database

        yield make


@pytest.fixture
def database(postgres: PrivatePostgres, make_database: Callable[[PrivatePostgres], Database]) -> Database:
    """A fresh database, on the oldest and on the newest PostgreSQL."""
    return make_database(postgres)


@pytest.fixture
def source_database(postgres: PrivatePostgres, make_database: Callable[[PrivatePostgres], Database]) -> Database:
    """A fresh database to read from, on the oldest and on the newest PostgreSQL."""
    return make_database(postgres)


@pytest.fixture
def target_database(other_postgres: PrivatePostgres, make_database: Callable[[PrivatePostgres], Database]) -> Database:
    """A fresh database to write to, on the other server than `source_database`."""
    return make_database(other_postgres)


@pytest.fixture
def newest_database(newest_cluster: PrivatePostgres, make_database: Callable[[PrivatePostgres], Database]) -> Database:
    """A fresh database on the newest PostgreSQL only."""
    return make_database(newest_cluster)


@pytest.fixture
def make_cluster() -> Iterator[ClusterFactory]:
    """Starts private servers that the test may stop, kill and restart; they are closed after it."""
    with ExitStack() as stack:

        def make(installation: Installation | None = None, **arguments: Any) -> PrivatePostgres:
            return stack.enter_context(PrivatePostgres(installation or BOTH[-1], **arguments))

        yield make
