"""The contract of `ports/source.py`, run over every implementation, the fake included."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import pairwise

import pytest

from headwater.clusters import MysqlServer
from headwater.domain.changes import Frame
from headwater.domain.errors import SourceError
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.ports.source import Captured, Log, Source
from headwater.sources.mysql import MysqlConfig, MysqlSource
from headwater.sources.postgres import PostgresConfig, PostgresSource
from headwater.testing import ScriptedSource
from headwater.testing.rows import Key, Row, parse_text_rows, replay
from headwater.testing.source import OpenTransaction
from tests.conftest import DatabaseFactory
from tests.databases import Database, MysqlDatabase, wait_until

T = TableName("public", "t")
OTHER = TableName("public", "other")
SCHEMAS = [TableSchema(name, (Column("id", "integer", key=True, nullable=False), Column("v", "text"))) for name in (T, OTHER)]
TIMEOUT_S = 30.0


class Writer(ABC):
    """An open transaction at the source."""

    @abstractmethod
    def insert(self, id: int, v: str | None, table: TableName = T) -> None: ...

    @abstractmethod
    def update(self, id: int, v: str | None) -> None: ...

    @abstractmethod
    def rekey(self, old: int, new: int) -> None: ...

    @abstractmethod
    def delete(self, id: int) -> None: ...

    @abstractmethod
    def truncate(self) -> None: ...


class ScriptedWriter(Writer):
    def __init__(self, transaction: OpenTransaction) -> None:
        self._transaction = transaction

    def insert(self, id: int, v: str | None, table: TableName = T) -> None:
        self._transaction.insert(table, id=id, v=v)

    def update(self, id: int, v: str | None) -> None:
        self._transaction.update(T, [id], v=v)

    def rekey(self, old: int, new: int) -> None:
        self._transaction.update(T, [old], id=new)

    def delete(self, id: int) -> None:
        self._transaction.delete(T, [id])

    def truncate(self) -> None:
        self._transaction.truncate(T)


class SqlWriter(Writer):
    """`run` takes a statement with its values."""

    def __init__(self, run: Callable[..., object]) -> None:
        self._run = run

    def insert(self, id: int, v: str | None, table: TableName = T) -> None:
        self._run(f"INSERT INTO {table} VALUES (%s, %s)", [id, v])

    def update(self, id: int, v: str | None) -> None:
        self._run("UPDATE t SET v = %s WHERE id = %s", [v, id])

    def rekey(self, old: int, new: int) -> None:
        self._run("UPDATE t SET id = %s WHERE id = %s", [new, old])

    def delete(self, id: int) -> None:
        self._run("DELETE FROM t WHERE id = %s", [id])

    def truncate(self) -> None:
        self._run("TRUNCATE TABLE t")


class Bench(ABC):
    """A source under test with the empty tables `t` and `other`. Logs that it opens are closed after the test.

    `keeps_log`: it keeps its log for everybody, whatever is published and confirmed, and ends a transaction with TRUNCATE."""

    source: Source
    keeps_log = False

    def __init__(self) -> None:
        self.stack = ExitStack()

    @abstractmethod
    @contextmanager
    def transaction(self) -> Iterator[Writer]:
        """A transaction that commits at the end of the `with`."""

    @abstractmethod
    def lose_slot(self) -> None:
        """Drop the slot behind the product's back."""

    @abstractmethod
    def rows(self) -> dict[Key, Row]:
        """The rows of `t` by key."""

    def log(self, after: str | None = None, new_history: bool = False) -> Log:
        """Open the log of `t`."""
        return self.stack.enter_context(closing(self.source.open_log([T], after, new_history)))


class Scripted(Bench):
    """The fake."""

    def __init__(self) -> None:
        super().__init__()
        self.source = self.scripted = ScriptedSource(SCHEMAS)

    @contextmanager
    def transaction(self) -> Iterator[Writer]:
        """See `Bench`."""
        with self.scripted.transaction() as transaction:
            yield ScriptedWriter(transaction)

    def lose_slot(self) -> None:
        """See `Bench`."""
        self.scripted.lose_slot()

    def rows(self) -> dict[Key, Row]:
        """See `Bench`."""
        return self.scripted.state[T]


class Postgres(Bench):
    """PostgreSQL."""

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.database = database
        cluster = database.cluster
        config = PostgresConfig(database.name, cluster.host, database.name, cluster.user, cluster.port, cluster.password)
        self.source = PostgresSource(config)

    @contextmanager
    def transaction(self) -> Iterator[Writer]:
        """See `Bench`."""
        with self.database.connect(autocommit=False) as connection:
            yield SqlWriter(lambda statement, *values: connection.execute(statement.encode(), *values))

    def lose_slot(self) -> None:
        """See `Bench`."""
        self.stack.close()
        deadline = time.monotonic() + TIMEOUT_S
        drop = "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database() AND NOT active"
        while not self.database.rows(drop):
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def rows(self) -> dict[Key, Row]:
        """See `Bench`."""
        found = self.database.rows("SELECT id::text, v FROM t")
        return {(i.encode(),): {"id": i.encode(), "v": None if v is None else v.encode()} for i, v in found}


class Mysql(Bench):
    """MariaDB or MySQL. Its database has the name of PostgreSQL's schema, so that tables are called the same."""

    keeps_log = True

    def __init__(self, server: MysqlServer) -> None:
        super().__init__()
        self.database = MysqlDatabase.create(server, T.schema)
        self.stack.callback(self.database.drop)
        config = MysqlConfig("a source", server.host, T.schema, server.user, server.port, server.password)
        self.source = MysqlSource(config)

    @contextmanager
    def transaction(self) -> Iterator[Writer]:
        """See `Bench`."""
        with self.database.connect(autocommit=False) as connection, connection.cursor() as cursor:
            yield SqlWriter(cursor.execute)
            connection.commit()

    def lose_slot(self) -> None:
        """See `Bench`: the files that were read are removed, as soon as those who read have come to the last one."""
        self.database.run("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
        last = self.database.rows("SHOW BINARY LOGS")[-1][0]

        def purged() -> bool:
            self.database.run(f"PURGE BINARY LOGS TO '{last}'")
            return bool(self.database.rows("SHOW BINARY LOGS")[0][0] == last)

        wait_until(purged, what="the files being removed")

    def rows(self) -> dict[Key, Row]:
        """See `Bench`."""
        found = self.database.rows("SELECT CAST(id AS CHAR), v FROM t")
        return {(i.encode(),): {"id": i.encode(), "v": None if v is None else v.encode()} for i, v in found}


@pytest.fixture(params=["scripted", "postgres", "mariadb", "mysql"])
def bench(request: pytest.FixtureRequest, make_database: DatabaseFactory) -> Iterator[Bench]:
    """Each implementation."""
    made: Bench
    if request.param == "scripted":
        made = Scripted()
    elif request.param in ("mariadb", "mysql"):
        made = Mysql(request.getfixturevalue(request.param))
        made.database.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE other (id int PRIMARY KEY, v text)")
    else:
        newest_cluster = request.getfixturevalue("newest_cluster")
        database = make_database(newest_cluster)
        database.run("CREATE TABLE t (id int PRIMARY KEY, v text)", "CREATE TABLE other (id int PRIMARY KEY, v text)")
        made = Postgres(database)
    with made.stack:
        yield made


def take(log: Log, enough: Callable[[list[Frame], Captured], bool]) -> tuple[list[Frame], Captured]:
    """Take from the log until there is enough."""
    frames: list[Frame] = []
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        assert time.monotonic() < deadline, f"only {len(frames)} frames came"
        captured = log.next(0.2)
        if captured is not None:
            frames += captured.frames
            if enough(frames, captured):
                return frames, captured


def transactions(frames: list[Frame]) -> list[tuple[str, int, int]]:
    """Position, commit time and number of changes of each."""
    columns = [[v for f in frames for v in f.transactions.column(name).to_pylist()] for name in ("position", "commit_us", "rows")]
    return list(zip(*columns, strict=True))


def take_transactions(log: Log, count: int) -> list[Frame]:
    """Take until there are so many, and not more."""
    frames, _ = take(log, lambda frames, _: sum(f.transactions.num_rows for f in frames) >= count)
    assert sum(f.transactions.num_rows for f in frames) == count
    return frames


def test_the_log_brings_what_was_done_in_order(bench: Bench) -> None:
    bench.source.publish([T])
    log = bench.log()
    with bench.transaction() as w:
        for i in range(5):
            w.insert(i, f"v{i}")
    with bench.transaction() as w:
        w.update(1, None)
        w.rekey(2, 20)
        w.delete(3)
        w.insert(3, "tab\tand\nline")
    frames = take_transactions(log, 2)
    state: dict[TableName, dict[Key, Row]] = {}
    for one in frames:
        replay(state, one)
    assert state[T] == bench.rows()
    (first, second) = transactions(frames)
    assert first[1] <= second[1]
    assert (first[2], second[2]) == (5, 5)
    assert bench.source.reached(second[0], first[0])
    assert not bench.source.reached(first[0], second[0])


def test_a_truncate_comes_through(bench: Bench) -> None:
    bench.source.publish([T])
    log = bench.log()
    with bench.transaction() as w:
        w.insert(1, "gone")
    with bench.transaction() as w:
        w.truncate()
        w.insert(2, "stays")
    state: dict[TableName, dict[Key, Row]] = {}
    for one in take_transactions(log, 3 if bench.keeps_log else 2):
        replay(state, one)
    assert state[T] == bench.rows()


def test_an_idle_source_is_heard_of(bench: Bench) -> None:
    bench.source.publish([T])
    log = bench.log()
    _, first = take(log, lambda _, captured: not captured.frames)
    with bench.transaction() as w:
        w.insert(1, "not published", table=OTHER)
    _, later = take(log, lambda _, captured: bench.source.reached(captured.position, first.position))
    assert later.source_us >= first.source_us
    assert bench.source.reached(first.position, log.start)


def test_following_goes_on_after_a_place_without_a_gap_and_without_repeats_p1(bench: Bench) -> None:
    bench.source.publish([T])
    log = bench.log()
    for i in range(4):
        with bench.transaction() as w:
            w.insert(i, "x")
    places = [position for position, _, _ in transactions(take_transactions(log, 4))]
    log.close()
    again = bench.log(after=places[1])
    assert [position for position, _, _ in transactions(take_transactions(again, 2))] == places[2:]


def test_what_was_confirmed_is_not_asked_for_again_unnoticed_p7(bench: Bench) -> None:
    """The slot stands beyond the journal: going on would leave a gap."""
    bench.source.publish([T])
    log = bench.log()
    for i in range(2):
        with bench.transaction() as w:
            w.insert(i, "x")
    places = [position for position, _, _ in transactions(take_transactions(log, 2))]
    log.confirm(places[1])
    take(log, lambda _, captured: not captured.frames)
    log.close()
    if bench.keeps_log:
        assert [position for position, _, _ in transactions(take_transactions(bench.log(after=places[0]), 1))] == places[1:]
        return
    with pytest.raises(SourceError) as error:
        _opened(bench, places[0])
    assert error.value.kind == "slot_lost"


def _opened(bench: Bench, after: str) -> None:
    """Open the log, and give a confirmation that is still under way the time to arrive."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        bench.log(after=after).close()
        time.sleep(0.1)


def test_a_slot_that_is_gone_is_made_anew_with_consent_only_p7(bench: Bench) -> None:
    bench.source.publish([T])
    log = bench.log()
    with bench.transaction() as w:
        w.insert(1, "before")
    (place,) = [position for position, _, _ in transactions(take_transactions(log, 1))]
    bench.lose_slot()
    with bench.transaction() as w:
        w.insert(2, "lost")
    bench.source.publish([T])
    assert bench.source.published([T]) == bench.keeps_log
    with pytest.raises(SourceError) as error:
        bench.log(after=place)
    assert error.value.kind == "slot_lost"
    new = bench.log(after=place, new_history=True)
    assert bench.source.reached(new.start, place)
    with bench.transaction() as w:
        w.insert(3, "after")
    ((position, _, rows),) = transactions(take_transactions(new, 1))
    assert rows == 1
    assert bench.source.reached(position, new.start)


def test_publishing_is_told_and_taken_back(bench: Bench) -> None:
    assert bench.source.published([T]) == bench.keeps_log
    assert not bench.source.published([TableName("public", "missing")])
    bench.source.publish([T])
    bench.source.publish([T])
    assert bench.source.published([T])
    assert bench.source.published([T, OTHER]) == bench.keeps_log
    bench.source.publish([T, OTHER])
    assert bench.source.published([T, OTHER])
    bench.source.release()
    bench.source.release()
    assert bench.source.published([T]) == bench.keeps_log


def test_settling_waits_for_those_who_were_there_before(bench: Bench) -> None:
    assert bench.source.settle(TIMEOUT_S)
    with bench.transaction() as w:
        w.insert(1, "open")
        assert not bench.source.settle(0.1)
    assert bench.source.settle(TIMEOUT_S)


def test_a_snapshot_is_one_moment_that_chunks_cover(bench: Bench) -> None:
    bench.source.publish([T])
    log = bench.log()
    with bench.transaction() as w:
        for i in range(25):
            w.insert(i, None if i % 7 == 0 else f"tab\t back\\slash\n {i}")
    ((position, _, _),) = transactions(take_transactions(log, 1))
    wanted = sorted((row["id"], row["v"]) for row in bench.rows().values())
    with closing(bench.source.snapshot()) as snapshot:
        assert bench.source.reached(snapshot.position, position)
        with bench.transaction() as w:  # no truncate: to PostgreSQL that is no part of any moment
            w.delete(5)
            w.update(6, "later")
            w.insert(99, "later")
        chunks = snapshot.chunks(T, ["id"], 10)
        assert [c.number for c in chunks] == list(range(len(chunks)))
        assert (chunks[0].after, chunks[-1].upto) == (None, None)
        assert all(one.upto == next.after for one, next in pairwise(chunks))
        read = [row for c in chunks for row in parse_text_rows(snapshot.read(T, ["id", "v"], ["id"], c))]
    assert sorted(read) == wanted
    ((later, _, _),) = transactions(take_transactions(log, 1))
    assert bench.source.reached(later, snapshot.position)


def test_tables_are_told(bench: Bench) -> None:
    bench.source.test()
    assert {T, OTHER} <= set(bench.source.tables())
    described = bench.source.describe([T, TableName("public", "missing")])
    assert set(described) == {T}
    assert [(c.name, c.key) for c in described[T].columns] == [("id", True), ("v", False)]
    assert bench.source.check([T]) == []
    assert any("missing" in str(finding) for finding in bench.source.check([T, TableName("public", "missing")]))
