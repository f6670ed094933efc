"""Private servers for all tests, started once per test run, never anyone else's: PostgreSQL (oldest and newest at hand), MariaDB, MySQL.

`postgres` runs a test on both. `source_database` and `target_database` lie on two servers, one of them the newest. `mysql_like` runs a
test on MariaDB and on MySQL; `mysql_database` lies there.
"""

from __future__ import annotations

import itertools
import os
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, overload

import pytest

import headwater
from headwater.clusters import (
    Installation,
    MysqlInstallation,
    MysqlServer,
    PrivateMariadb,
    PrivateMysql,
    PrivatePostgres,
    find_mariadb,
    find_mysql,
    find_postgres,
)
from tests.databases import AnyDatabase, Database, MysqlDatabase, create
from tests.pairs import POSTGRES, Sides
from tests.scratch import keep_bytecode, use_memory

use_memory()
keep_bytecode()

INSTALLATIONS = find_postgres()
BOTH = list(dict.fromkeys(INSTALLATIONS[:1] + INSTALLATIONS[-1:]))
MARIADB, MYSQL = find_mariadb(), find_mysql()
MYSQL_LIKES: list[MysqlInstallation | str] = [MARIADB[-1] if MARIADB else "MariaDB", MYSQL[-1] if MYSQL else "MySQL"]
"""What tests of both flavours run on. A mere name stands for a flavour that is not here: those tests are skipped, and counted."""
AnyServer = PrivatePostgres | MysqlServer
_numbers = itertools.count()

LONGEST = (
    *(f"tests/crash/test_{plan}" for plan in ("pairs", "kill", "stops", "stalls", "connections", "fail_over", "servers", "clock", "disk")),
    "tests/crash/",
    "tests/model/",
    "tests/types/",
    "tests/exactness/",
    "tests/integration/",
)
"""What runs first, because it takes longest: a core that is left alone with such a file at the end makes the whole run long."""

ONE_WAY = ("tests/exactness/test_outside", "tests/exactness/test_tables_replaced", "tests/integration/", "tests/client/", "tests/docs/")
"""Whole services between two servers: each such test runs in one direction, from the oldest to the newest PostgreSQL or back, so that both
directions have half of them. With HEADWATER_TESTS=all, or where tests are named one by one, it runs in both. What is about
the servers themselves (reading a log, writing, types, kinds of change) runs on both anyway."""


class ClusterFactory(Protocol):
    """Starts a private server for one test; arguments as of `PrivatePostgres` (newest installation by default)."""

    def __call__(self, installation: Installation | None = None, **arguments: Any) -> PrivatePostgres: ...


class MysqlFactory(Protocol):
    """Starts a private server of a flavour for one test; arguments as of `PrivateMariadb` and `PrivateMysql`."""

    def __call__(self, **arguments: Any) -> MysqlServer: ...


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
    servers = ", ".join([*(str(i.bin) for i in BOTH), *(i.name for i in MYSQL_LIKES if isinstance(i, MysqlInstallation))])
    decoder = "compiled" if compiled else "uncompiled"
    return f"headwater: {decoder} decoder; servers: {servers}; everything temporary in {tempfile.gettempdir()}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest first, and of `ONE_WAY` half."""
    items.sort(key=lambda item: next((i for i, path in enumerate(LONGEST) if item.nodeid.startswith(path)), len(LONGEST)))
    if os.environ.get("HEADWATER_TESTS") == "all" or any("::" in argument for argument in config.args) or config.option.keyword:
        return
    left_out = [item for item in items if item.nodeid.startswith(ONE_WAY) and _other_way(item)]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)


def _other_way(item: pytest.Item) -> bool:
    """Whether the test runs in the other direction; which one it runs in is told by its name, and so always the same."""
    source = item.callspec.params.get("postgres") if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
    if not isinstance(source, Installation) or len(BOTH) < 2:
        return False
    name = item.nodeid.replace(source.name, "")
    return BOTH.index(source) != zlib.crc32(name.encode()) % len(BOTH)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """How many tests did not run because a server is missing: nobody shall take a run without it for the whole."""
    skipped = [str(report.longrepr) for report in terminalreporter.stats.get("skipped", ())]
    for product in ("MariaDB", "MySQL"):
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
    """The running server of an installation of MariaDB or MySQL; the second argument tells servers of one installation apart."""
    running: dict[tuple[MysqlInstallation, str], MysqlServer] = {}
    with ExitStack() as stack:

        def get(installation: MysqlInstallation, role: str) -> MysqlServer:
            if (installation, role) not in running:
                kind = PrivateMariadb if installation.flavour == "mariadb" else PrivateMysql
                running[installation, role] = stack.enter_context(kind(installation))
            return running[installation, role]

        yield get


@pytest.fixture(scope="session", params=MYSQL_LIKES, ids=lambda found: getattr(found, "name", found))
def mysql_like(request: pytest.FixtureRequest, shared_mysql: Callable[[MysqlInstallation, str], MysqlServer]) -> MysqlServer:
    """A shared private server of each flavour: MariaDB, then MySQL. Don't stop it; see `make_mysql_like`."""
    if isinstance(request.param, str):
        pytest.skip(missing(request.param))
    return shared_mysql(request.param, "first")


@pytest.fixture(scope="session")
def mariadb(shared_mysql: Callable[[MysqlInstallation, str], MysqlServer]) -> MysqlServer:
    """The shared private MariaDB server, for tests that need only that. Don't stop it; see `make_mariadb`."""
    return shared_mysql(_newest(MARIADB, "MariaDB"), "first")


@pytest.fixture(scope="session")
def mysql(shared_mysql: Callable[[MysqlInstallation, str], MysqlServer]) -> MysqlServer:
    """The shared private MySQL server, for tests that need only that. Don't stop it; see `make_mysql`."""
    return shared_mysql(_newest(MYSQL, "MySQL"), "first")


def _newest(installations: list[MysqlInstallation], product: str) -> MysqlInstallation:
    if not installations:
        pytest.skip(missing(product))
    return installations[-1]


@pytest.fixture
def make_database() -> Iterator[DatabaseFactory]:
    """Makes fresh databases in a server of any kind; they are dropped after the test, with their slots and connections."""
    with ExitStack() as stack:

        def make(cluster: Any, encoding: str = "") -> Any:
            database = create(cluster, _free_name(), encoding)
            stack.callback(database.drop)
            return database

        yield make


@pytest.fixture
def mysql_database(mysql_like: MysqlServer, make_database: DatabaseFactory) -> MysqlDatabase:
    """A fresh database on MariaDB, then on MySQL."""
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


@pytest.fixture(scope="session")
def make_servers(
    shared_cluster: Callable[[Installation, str], PrivatePostgres], shared_mysql: Callable[[MysqlInstallation, str], MysqlServer]
) -> Callable[[str], tuple[AnyServer, AnyServer]]:
    """The two shared servers of a pair of `pairs`."""

    def get(kind: str, role: str) -> AnyServer:
        if kind in ("oldest", "newest"):
            return shared_cluster(BOTH[0] if kind == "oldest" else BOTH[-1], role)
        return shared_mysql(_newest(MARIADB, "MariaDB") if kind == "mariadb" else _newest(MYSQL, "MySQL"), role)

    def get_both(pair: str) -> tuple[AnyServer, AnyServer]:
        source, target = pair.split("-")
        first, second = get(source, "first"), get(target, "first")
        return first, get(target, "second") if second is first else second

    return get_both


@pytest.fixture
def make_sides(
    make_servers: Callable[[str], tuple[AnyServer, AnyServer]], make_database: Callable[[AnyServer], AnyDatabase]
) -> Callable[[str], Sides]:
    """Makes fresh databases on two servers for a pair of `pairs`."""

    def make(pair: str) -> Sides:
        source, target = make_servers(pair)
        return make_database(source), make_database(target)

    return make


@pytest.fixture
def make_own_sides(make_cluster: ClusterFactory, make_mariadb: MysqlFactory, make_mysql: MysqlFactory) -> Callable[[str], Sides]:
    """The same on two servers that the test may stop, kill and restart."""
    start: dict[str, Callable[[], AnyServer]] = {
        "oldest": lambda: make_cluster(BOTH[0]),
        "newest": lambda: make_cluster(BOTH[-1]),
        "mariadb": make_mariadb,
        "mysql": make_mysql,
    }

    def make(pair: str) -> Sides:
        source, target = (start[kind]() for kind in pair.split("-"))
        return create(source, "s"), create(target, "t")

    return make


@pytest.fixture(params=POSTGRES)
def sides(request: pytest.FixtureRequest, make_sides: Callable[[str], Sides]) -> Sides:
    """Fresh databases on two servers, see `pairs`."""
    return make_sides(request.param)


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
def make_mariadb() -> Iterator[MysqlFactory]:
    """Starts private MariaDB servers that the test may stop, kill and restart; they are closed after it."""
    with ExitStack() as stack:
        yield lambda **arguments: stack.enter_context(PrivateMariadb(_newest(MARIADB, "MariaDB"), **arguments))


@pytest.fixture
def make_mysql() -> Iterator[MysqlFactory]:
    """The same for MySQL, which takes seconds to start."""
    with ExitStack() as stack:
        yield lambda **arguments: stack.enter_context(PrivateMysql(_newest(MYSQL, "MySQL"), **arguments))


@pytest.fixture(params=["make_mariadb", "make_mysql"])
def make_mysql_like(request: pytest.FixtureRequest) -> MysqlFactory:
    """The same for each flavour."""
    factory: MysqlFactory = request.getfixturevalue(request.param)
    return factory
