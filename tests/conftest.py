"""Private servers for all tests, started once per test run, never anyone else's: the oldest and the newest PostgreSQL at hand, MariaDB.

`postgres` runs a test on both. `source_database` and `target_database` lie on two servers, one of them the newest. `mysql_like` runs a
test on MariaDB; `mysql_database` lies there.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, overload

import pytest

import headwater
from headwater.clusters import Installation, MysqlInstallation, MysqlServer, PrivateMariadb, PrivatePostgres, find_mariadb, find_postgres
from tests.databases import Database, MysqlDatabase

INSTALLATIONS = find_postgres()
BOTH = list(dict.fromkeys(INSTALLATIONS[:1] + INSTALLATIONS[-1:]))
MARIADB = find_mariadb()
MYSQL_LIKES: list[MysqlInstallation | None] = [*MARIADB] or [None]
"""What tests of both flavours run on. None stands for a flavour that is not here: those tests are skipped, and counted."""
_numbers = itertools.count()


class ClusterFactory(Protocol):
    """Starts a private server for one test; arguments as of `PrivatePostgres` (newest installation by default)."""

    def __call__(self, installation: Installation | None = None, **arguments: Any) -> PrivatePostgres: ...


class MariadbFactory(Protocol):
    """Starts a private MariaDB server for one test; arguments as of `PrivateMariadb`."""

    def __call__(self, **arguments: Any) -> PrivateMariadb: ...


class DatabaseFactory(Protocol):
    """Makes fresh databases in private servers."""

    @overload
    def __call__(self, cluster: PrivatePostgres, encoding: str = "UTF8") -> Database: ...
    @overload
    def __call__(self, cluster: MysqlServer, encoding: str = "utf8mb4") -> MysqlDatabase: ...


def _free_name() -> str:
    return f"t_{os.getpid()}_{next(_numbers)}"


def pytest_report_header() -> str:
    """Which decoder and which servers the run is about; a compiled decoder that is older than its source must not be tested."""
    compiled = list((Path(headwater.__file__).parent / "wire").glob("*.so"))
    for module in compiled:
        source = module.with_name(module.name.partition(".")[0] + ".py")
        if source.exists() and module.stat().st_mtime < source.stat().st_mtime:
            raise pytest.UsageError(f"{module.name} is older than {source.name}; run `make setup` (or delete it)")
    servers = ", ".join([*(str(i.bin) for i in BOTH), *(i.name for i in MYSQL_LIKES if i)])
    return f"headwater: {'compiled' if compiled else 'uncompiled'} decoder; servers: {servers}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many tests did not run because a server is missing: nobody shall take a run without it for the whole."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    for product in ("MariaDB",):
        if count := sum(missing(product) in reason for reason in skipped):
            terminalreporter.write_line(f"!!! {count} tests were skipped: {missing(product)}", red=True, bold=True)


def missing(product: str) -> str:
    """The reason for skipping what needs a server that is not here."""
    return f"{product} is not installed here"


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


@pytest.fixture(scope="session")
def shared_mysql() -> Iterator[Callable[[MysqlInstallation, str], MysqlServer]]:
    """The running server of an installation of MariaDB; the second argument tells servers of one installation apart."""
    running: dict[tuple[MysqlInstallation, str], MysqlServer] = {}
    with ExitStack() as stack:

        def get(installation: MysqlInstallation, role: str) -> MysqlServer:
            if (installation, role) not in running:
                running[installation, role] = stack.enter_context(PrivateMariadb(installation))
            return running[installation, role]

        yield get


@pytest.fixture(scope="session", params=MYSQL_LIKES, ids=lambda found: found.name if found else "mariadb")
def mysql_like(request: pytest.FixtureRequest, shared_mysql: Callable[[MysqlInstallation, str], MysqlServer]) -> MysqlServer:
    """A shared private server of each flavour at hand. Don't stop it; see `make_mariadb`."""
    if request.param is None:
        pytest.skip(missing("MariaDB"))
    return shared_mysql(request.param, "first")


@pytest.fixture(scope="session")
def mariadb(shared_mysql: Callable[[MysqlInstallation, str], MysqlServer]) -> MysqlServer:
    """The shared private MariaDB server, for tests that need only that. Don't stop it; see `make_mariadb`."""
    if not MARIADB:
        pytest.skip(missing("MariaDB"))
    return shared_mysql(MARIADB[-1], "first")


@pytest.fixture
def make_database() -> Iterator[DatabaseFactory]:
    """Makes fresh databases in a server of any kind; they are dropped after the test, with their slots and connections."""
    with ExitStack() as stack:

        def make(cluster: Any, encoding: str = "") -> Any:
            kind = MysqlDatabase if isinstance(cluster, MysqlServer) else Database
            database = kind.create(cluster, _free_name(), *filter(None, [encoding]))
            stack.callback(database.drop)
            return database

        yield make


@pytest.fixture
def mysql_database(mysql_like: MysqlServer, make_database: DatabaseFactory) -> MysqlDatabase:
    """A fresh database on each flavour of MySQL at hand."""
    return make_database(mysql_like)


@pytest.fixture
def mariadb_database(mariadb: MysqlServer, make_database: DatabaseFactory) -> MysqlDatabase:
    """A fresh database on MariaDB only."""
    return make_database(mariadb)


@pytest.fixture
def database(postgres: PrivatePostgres, make_database: DatabaseFactory) -> Database:
    """A fresh database, on the oldest and on the newest PostgreSQL."""
    return make_database(postgres)


@pytest.fixture
def source_database(postgres: PrivatePostgres, make_database: DatabaseFactory) -> Database:
    """A fresh database to read from, on the oldest and on the newest PostgreSQL."""
    return make_database(postgres)


@pytest.fixture
def target_database(other_postgres: PrivatePostgres, make_database: DatabaseFactory) -> Database:
    """A fresh database to write to, on the other server than `source_database`."""
    return make_database(other_postgres)


@pytest.fixture
def newest_database(newest_cluster: PrivatePostgres, make_database: DatabaseFactory) -> Database:
    """A fresh database on the newest PostgreSQL only."""
    return make_database(newest_cluster)


@pytest.fixture
def make_cluster() -> Iterator[ClusterFactory]:
    """Starts private servers that the test may stop, kill and restart; they are closed after it."""
    with ExitStack() as stack:

        def make(installation: Installation | None = None, **arguments: Any) -> PrivatePostgres:
            return stack.enter_context(PrivatePostgres(installation or BOTH[-1], **arguments))

        yield make


@pytest.fixture
def make_mariadb() -> Iterator[MariadbFactory]:
    """Starts private MariaDB servers that the test may stop, kill and restart; they are closed after it."""
    with ExitStack() as stack:

        def make(**arguments: Any) -> PrivateMariadb:
            if not MARIADB:
                pytest.skip(missing("MariaDB"))
            return stack.enter_context(PrivateMariadb(**arguments))

        yield make
