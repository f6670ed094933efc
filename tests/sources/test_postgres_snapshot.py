"""Snapshots on real servers: one moment, chunks without gap or overlap for any key, and the same text as the log brings (P8)."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, Self

import psycopg
import pytest

from headwater.clusters import Installation, PrivatePostgres
from headwater.domain.changes import Frame
from headwater.domain.errors import SourceError
from headwater.ports.source import Chunk
from headwater.sources.postgres import PostgresSource, snapshot
from headwater.sources.postgres.snapshot import PostgresSnapshot
from tests.conftest import BOTH, ClusterFactory
from tests.databases import Database, wait_until
from tests.sources.postgres_logs import Follower, source_of, table

T = table("t")
WHOLE = Chunk(0, None, None)


@pytest.fixture
def source(database: Database) -> PostgresSource:
    return source_of(database)


@pytest.fixture(params=["socket", "libpq"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of reading rows: the socket itself, and libpq as on an encrypted connection."""
    if request.param == "libpq":
        monkeypatch.setattr(snapshot, "readable", lambda session: False)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small tables are estimated and cut like large ones."""
    monkeypatch.setattr(snapshot, "COUNT_BYTES_MAX", 0)


def lines(taken: PostgresSnapshot, columns: Sequence[str], key: Sequence[str], chunk: Chunk) -> list[bytes]:
    return b"".join(taken.read(T, columns, key, chunk)).splitlines()


KEYS = {
    "int": ("id int PRIMARY KEY", "i * 3 - 15000", ["id"]),
    "skewed": ("id bigint PRIMARY KEY", "CASE WHEN i < 9000 THEN i ELSE i * 1000000000::bigint END", ["id"]),
    "text": ("id text PRIMARY KEY", "chr(97 + i % 26) || E'''\\\\\\t' || chr(223 + i % 30) || i", ["id"]),
    "collated": ('id text COLLATE "C" PRIMARY KEY', "chr(65 + i % 50) || i", ["id"]),
    "char": ("id char(12) PRIMARY KEY", "'k' || i", ["id"]),
    "uuid": ("id uuid PRIMARY KEY", "md5(i::text)::uuid", ["id"]),
    "numeric": ("id numeric PRIMARY KEY", "i / 7.0", ["id"]),
    "timestamptz": ("id timestamptz PRIMARY KEY", "'2026-01-01'::timestamptz + i * interval '1.5 hours'", ["id"]),
    "bytea": ("id bytea PRIMARY KEY", "decode(md5(i::text), 'hex')", ["id"]),
    "composite": ('"A b" int, "c""d" text, PRIMARY KEY ("A b", "c""d")', "i / 100, 'x' || i", ["A b", 'c"d']),
    "enum": (
        "e mood, id int, PRIMARY KEY (e, id)",
        "(CASE i % 3 WHEN 0 THEN 'sad' WHEN 1 THEN 'ok' ELSE 'happy' END)::mood, i",
        ["e", "id"],
    ),
    "domain": ("id positive PRIMARY KEY", "i + 1", ["id"]),
}


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.usefixtures("counted")
def test_chunks_cover_the_table_once(database: Database, source: PostgresSource, kind: str) -> None:
    definition, value, key = KEYS[kind]
    database.run(
        "CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy')",
        "CREATE DOMAIN positive AS int CHECK (VALUE > 0)",
        f"CREATE TABLE t ({definition}, filler text DEFAULT repeat('x', 50))",
        f"INSERT INTO t SELECT {value} FROM generate_series(0, 9999) i",
        "ANALYZE t",
    )
    with closing(source.snapshot()) as taken:
        chunks = taken.chunks(T, key, 1000)
        pieces = [lines(taken, key, key, chunk) for chunk in chunks]
        everything = sorted(lines(taken, key, key, WHOLE))
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert (chunks[0].after, chunks[-1].upto) == (None, None)
    assert sorted(line for piece in pieces for line in piece) == everything
    assert len(everything) == 10_000
    assert 8 <= len(chunks) <= 12
    assert max(map(len, pieces)) < 2500


def test_operators_of_an_extension_do_not_cut(database: Database, source: PostgresSource) -> None:
    """Their order could differ from that of the built-in type, so such a table is copied whole."""
    if not database.rows("SELECT FROM pg_available_extensions WHERE name = 'citext'"):
        pytest.skip("this installation has no citext")
    database.run(
        "CREATE EXTENSION citext", "CREATE TABLE t (id citext PRIMARY KEY)", "INSERT INTO t SELECT 'k' || i FROM generate_series(1, 5000) i"
    )
    with closing(source.snapshot()) as taken:
        assert taken.chunks(T, ["id"], 1000) == [WHOLE]
        assert len(lines(taken, ["id"], ["id"], WHOLE)) == 5000


def test_small_and_empty_tables_are_one_chunk_and_counted(database: Database, source: PostgresSource) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    with closing(source.snapshot()) as taken:
        assert (taken.rows_estimate(T), taken.chunks(T, ["id"], 10), list(taken.read(T, ["id"], ["id"], WHOLE))) == (0, [WHOLE], [])
    database.run("INSERT INTO t SELECT generate_series(1, 12)")
    with closing(source.snapshot()) as taken:
        assert (taken.rows_estimate(T), taken.chunks(T, ["id"], 10)) == (12, [WHOLE])


@pytest.mark.usefixtures("counted")
def test_a_table_without_statistics_is_estimated(database: Database, source: PostgresSource) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "ALTER TABLE t SET (autovacuum_enabled = false)")
    database.run("INSERT INTO t SELECT generate_series(1, 20000)")
    with closing(source.snapshot()) as taken:
        assert 10_000 < taken.rows_estimate(T) < 40_000


def test_partitioned_table(database: Database, source: PostgresSource) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY) PARTITION BY RANGE (id)",
        "CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (10000)",
        "CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (10000) TO (30000)",
        "INSERT INTO t SELECT generate_series(0, 19999)",
    )
    with closing(source.snapshot()) as taken:
        assert taken.rows_estimate(T) == 20_000
        chunks = taken.chunks(T, ["id"], 5000)
        assert len(chunks) == 4
        assert sum(len(lines(taken, ["id"], ["id"], chunk)) for chunk in chunks) == 20_000


def test_children_by_inheritance_are_tables_of_their_own(database: Database, source: PostgresSource) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE TABLE child () INHERITS (t)", "INSERT INTO child VALUES (1)")
    with closing(source.snapshot()) as taken:
        assert lines(taken, ["id"], ["id"], WHOLE) == []
    source.publish([T])
    with closing(source.open_log([T], None, False)) as log:
        database.run("INSERT INTO child VALUES (2)", "INSERT INTO t VALUES (3)")
        assert Follower(log).rows(1) == [("public.t", "INSERT", {"id": b"3"})]


@pytest.mark.usefixtures("route")
def test_one_moment_for_all_readers(database: Database, source: PostgresSource) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t VALUES (1)")
    with closing(source.snapshot()) as taken:
        first = taken.read(T, ["id"], ["id"], WHOLE)
        database.run("INSERT INTO t VALUES (2)", "DELETE FROM t WHERE id = 1")
        second = taken.read(T, ["id"], ["id"], WHOLE)
        assert [list(first), list(second), lines(taken, ["id"], ["id"], WHOLE)] == [[b"1\n"], [b"1\n"], [b"1"]]


def test_everything_visible_lies_before_the_position_which_the_log_reaches(database: Database, source: PostgresSource) -> None:
    """Also with commits that are visible before they are written, and with nobody committing afterwards."""
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    source.publish([T])
    with closing(source.open_log([T], None, False)) as log, database.connect() as connection:
        follower = Follower(log)
        connection.execute("SET synchronous_commit = off")
        for i in range(20):
            connection.execute("INSERT INTO t VALUES (%s)", (i,))
            with closing(source.snapshot()) as taken:
                seen = len(lines(taken, ["id"], ["id"], WHOLE))
                follower.passed(source, taken.position)
                assert seen == i + 1
                before = [
                    place
                    for frame in follower.frames
                    for place in frame.transactions.column("position").to_pylist()
                    if source.reached(taken.position, place)
                ]
                assert len(before) >= seen


def test_a_snapshot_without_its_keeper_is_lost(database: Database, source: PostgresSource) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    with closing(source.snapshot()) as taken:
        others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
        database.run(f"SELECT pg_terminate_backend(pid) {others}")
        sessions = f"SELECT {others}"
        wait_until(lambda: not database.rows(sessions), what="the end of the keeper")
        with pytest.raises(SourceError, match="lost with its session") as caught:
            list(taken.read(T, ["id"], ["id"], WHOLE))
        assert caught.value.kind == "source_unavailable"


@pytest.mark.usefixtures("route")
def test_a_reader_that_is_cut_off(database: Database, source: PostgresSource) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, a text)", "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 50000) i"
    )
    with closing(source.snapshot()) as taken:
        blocks = taken.read(T, ["id", "a"], ["id"], WHOLE)
        next(blocks)
        database.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'COPY%' AND datname = current_database()")
        with pytest.raises(SourceError) as caught:
            list(blocks)
        assert caught.value.kind == "source_unavailable"


@pytest.mark.usefixtures("route")
def test_a_reader_that_stops_half_way_leaves_no_trouble(database: Database, source: PostgresSource) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)", "INSERT INTO t SELECT i, repeat('x', 1000) FROM generate_series(1, 5000) i")
    with closing(source.snapshot()) as taken:
        blocks = taken.read(T, ["id", "a"], ["id"], WHOLE)
        assert isinstance(blocks, Iterator)
        next(blocks)
        del blocks
        assert len(lines(taken, ["id"], ["id"], WHOLE)) == 5000
    with pytest.raises(SourceError, match="was closed"):
        taken.rows_estimate(T)
    taken.close()


@pytest.mark.usefixtures("route")
def test_blocks_are_whole_rows_of_about_the_named_size(database: Database, source: PostgresSource) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)", "INSERT INTO t SELECT i, E'\\t\\n\\\\x' FROM generate_series(1, 50000) i")
    with closing(source.snapshot()) as taken:
        blocks = list(taken.read(T, ["a", "id"], ["id"], WHOLE))
    assert len(blocks) > 1
    assert all(block.endswith(b"\n") for block in blocks)
    assert all(snapshot.BLOCK_BYTES <= len(block) < snapshot.BLOCK_BYTES * 1.6 for block in blocks[:-1])
    assert blocks[0].startswith(b"\\t\\n\\\\x\t1\n")


@pytest.mark.usefixtures("route")
def test_hidden_rows_are_an_error_never_a_gap(database: Database) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "INSERT INTO t VALUES (1)",
        "ALTER TABLE t ENABLE ROW LEVEL SECURITY",
        f"CREATE ROLE {database.name} LOGIN PASSWORD 'x'",
        f"GRANT SELECT ON t TO {database.name}",
    )
    try:
        source = source_of(database, user=database.name, password="x")
        with closing(source.snapshot()) as taken, pytest.raises(SourceError, match="row-level security") as caught:
            lines(taken, ["id"], ["id"], WHOLE)
        assert caught.value.kind == "source_refused"
        assert any("Row security" in str(finding) for finding in source.check([T]))
    finally:
        database.run(f"DROP OWNED BY {database.name}", f"DROP ROLE {database.name}")


VALUES = {
    "smallint": ["-32768", "32767"],
    "bigint": ["-9223372036854775808"],
    "numeric": ["'NaN'", "1e-30", "123456789012345678901234567890.123456789", "7e1", "'-0.00'"],
    "numeric(12,2)": ["70", "-0.005"],
    "real": ["0.1", "1e-45", "3.4028235e38", "'NaN'", "'-Infinity'", "'-0'"],
    "double precision": ["0.1", "1e-323", "0.30000000000000004", "'Infinity'", "1e15", "1e16"],
    "money": ["1234.5", "-1"],
    "bool": ["true", "false"],
    "text": ["''", "E'tab\\tline\\nback\\\\slash\\r'", "'\\N'", "'ünï ☃ 🜚'", "repeat('long', 3000)"],
    "varchar(10)": ["'x  '"],
    "char(5)": ["'ab'"],
    '"char"': ["'x'", "''"],
    "name": ["'n'"],
    "bytea": ["''", "'\\x00ff5c'"],
    "date": ["'2026-02-28'", "'0044-03-15 BC'", "'infinity'", "'5874897-12-31'"],
    "time": ["'24:00'", "'12:34:56.789012'"],
    "timetz": ["'12:34:56.7+05:30'"],
    "timestamp": ["'2026-01-01 00:00:00.000001'", "'infinity'", "'0001-01-01 BC'"],
    "timestamptz": ["'2026-01-01 12:00+09'", "'-infinity'", "'1900-01-01 00:00 Europe/Amsterdam'"],
    "interval": ["'-1 year -2 days +3:04:05.6'", "'1 mon -1 day'", "'0'"],
    "uuid": ["'A0EEBC99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
    "json": ['\'{"a" : 1,  "a":2}\''],
    "jsonb": ['\'{"b": [1, null, "\\\\u00e9"]}\''],
    "inet": ["'10.0.0.1/8'", "'::1'"],
    "cidr": ["'10.0.0.0/8'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "bit(3)": ["B'101'"],
    "bit varying": ["B''", "B'1'"],
    "point": ["'(0.1,-1e300)'"],
    "path": ["'[(0,0),(1,1)]'"],
    "tsvector": ["'a:1A b'"],
    "int4range": ["'[1,5)'", "'empty'"],
    "tstzrange": ["'[2026-01-01 00:00+02,)'"],
    "int[]": ["'{{1,NULL},{3,4}}'", "'[0:1]={1,2}'", "'{}'"],
    "text[]": ["ARRAY['a,b', 'NULL', NULL, '\"', '\\']"],
    "timestamptz[]": ["ARRAY['2026-07-01 00:00+02'::timestamptz]"],
    "mood": ["'sad'"],
    "pair": ["ROW(1, 'a \"b\", c')"],
    "regclass": ["'t'::regclass"],
    "oid": ["4294967295"],
    "pg_lsn": ["'16/B374D848'"],
}


def test_copied_and_followed_values_have_the_same_text(database: Database, source: PostgresSource) -> None:
    """P8: whatever the database's and the role's settings say, for every type."""
    columns = [f"c{i} {type_}" for i, type_ in enumerate(VALUES)]
    database.run(
        "CREATE TYPE mood AS ENUM ('sad')",
        "CREATE TYPE pair AS (a int, b text)",
        f"CREATE TABLE t (id int PRIMARY KEY, {', '.join(columns)})",
        f"ALTER DATABASE {database.name} SET TimeZone = 'Asia/Kolkata'",
        f"ALTER DATABASE {database.name} SET DateStyle = 'German'",
        f"ALTER DATABASE {database.name} SET IntervalStyle = 'sql_standard'",
        f"ALTER DATABASE {database.name} SET extra_float_digits = 0",
        f"ALTER DATABASE {database.name} SET bytea_output = 'escape'",
        f"ALTER DATABASE {database.name} SET search_path = public",
    )
    source.publish([T])
    rows = max(len(values) for values in VALUES.values())
    with closing(source.open_log([T], None, False)) as log:
        for row in range(rows):
            values = ", ".join(f"CAST({v[row]} AS {type_})" if row < len(v) else "NULL" for type_, v in VALUES.items())
            database.run(f"INSERT INTO t VALUES ({row}, {values})")
        followed = [list(values.values()) for _, _, values in Follower(log).rows(rows)]
    names = ["id", *(f"c{i}" for i in range(len(VALUES)))]
    with closing(source.snapshot()) as taken:
        copied = sorted(lines(taken, names, ["id"], WHOLE))
    assert [[unescaped(value) for value in line.split(b"\t")] for line in copied] == followed
    first = dict(zip(["id", *VALUES], followed[0], strict=True))
    assert first["timestamptz"] == b"2026-01-01 03:00:00+00"
    assert first["bytea"] == b"\\x"
    assert first["interval"] == b"-1 years -2 days +03:04:05.6"
    assert first["real"] == b"0.1"
    assert first["money"] in (b"$1,234.50", b"1234.50")
    assert first["regclass"] == b"public.t"


def unescaped(value: bytes) -> bytes | None:
    """A value of COPY's text form as it was."""
    if value == b"\\N":
        return None
    marks = {b"t": b"\t", b"n": b"\n", b"r": b"\r", b"\\": b"\\", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
    made, at = b"", 0
    while at < len(value):
        if value[at : at + 1] == b"\\":
            made += marks[value[at + 1 : at + 2]]
            at += 2
        else:
            made += value[at : at + 1]
            at += 1
    return made


class Writers:
    """Sessions that keep committing rows of `t`, each transaction with a number of its own, until told to stop."""

    def __init__(self, database: Database, sessions: int = 3) -> None:
        self._database, self._stop = database, threading.Event()
        self._numbers = itertools.count(1)
        self._threads = [threading.Thread(target=self._write, args=(n,)) for n in range(sessions)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *left: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, session: int) -> None:
        with self._database.connect(autocommit=False) as connection:
            connection.execute(f"SET synchronous_commit = {'off' if session == 0 else 'on'}".encode())
            while not self._stop.is_set():
                self._transaction(connection, next(self._numbers))

    def _transaction(self, connection: psycopg.Connection[Any], number: int) -> None:
        """Some are long, some have subtransactions, some are prepared and committed later, some are given up."""
        connection.execute("INSERT INTO t (id) VALUES (%s)", [number])
        if number % 5 == 0:
            connection.execute("SELECT pg_sleep(0.05)")
        if number % 7 == 0:
            connection.execute("SAVEPOINT s")
            connection.execute("INSERT INTO t (id) VALUES (%s)", [number])
            connection.execute("ROLLBACK TO SAVEPOINT s" if number % 2 else "RELEASE SAVEPOINT s")
        if number % 11 == 0:
            connection.rollback()
        elif number % 3 == 0:
            connection.execute(f"PREPARE TRANSACTION 'p{number}'".encode())
            connection.commit()
            connection.autocommit = True
            connection.execute(f"COMMIT PREPARED 'p{number}'".encode())
            connection.autocommit = False
        else:
            connection.commit()


@pytest.mark.parametrize("installation", BOTH, ids=lambda one: one.name)
def test_an_exact_snapshot_divides_the_log(
    installation: Installation, make_cluster: ClusterFactory, make_database: Callable[[PrivatePostgres], Database]
) -> None:
    """Under writers that never pause, for each of many snapshots: what is visible in it is what the log brings up to its position."""
    database = make_database(make_cluster(installation, settings={"max_prepared_transactions": "20"}))
    database.run("CREATE TABLE t (id int, at bigserial PRIMARY KEY)")
    source = source_of(database)
    source.publish([T])
    seen: list[tuple[str, list[int]]] = []
    with closing(source.open_log([T], None, False)) as log, Writers(database):
        follower = Follower(log)
        for _ in range(12):
            taken = source.exact_snapshot([T], lambda: True)
            assert taken is not None
            with closing(taken):
                follower.until(lambda: follower.row_count > 10 * (len(seen) + 1))
                seen.append((taken.position, sorted(map(int, lines(taken, ["id"], [], WHOLE)))))
        follower.passed(source, seen[-1][0])
    logged = [(p, n) for frame in follower.frames for p, n in _numbers(frame)]
    for position, visible in seen:
        assert sorted(n for p, n in logged if source.reached(position, p)) == visible
    assert len({position for position, _ in seen}) == len(seen)
    assert seen[-1][1]


def _numbers(frame: Frame) -> Iterator[tuple[str, int]]:
    """Position of its transaction and `id`, of each inserted row."""
    places = frame.transactions.column("position").to_pylist()
    for batch in frame.batches:
        for row in batch.data.to_pylist():
            yield places[row["_txn"]], int(row["id"])


def test_an_exact_snapshot_waits_for_the_open_ones_and_can_be_given_up(database: Database, source: PostgresSource) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    source.publish([T])
    with database.connect(autocommit=False) as open_one:
        open_one.execute("INSERT INTO t VALUES (1)")
        assert source.exact_snapshot([T], lambda: False) is None
        asked = iter([True, True])

        def commit_at_last() -> bool:
            if next(asked, None) is None:
                open_one.commit()
            return True

        taken = source.exact_snapshot([T], commit_at_last)
    assert taken is not None
    with closing(taken):
        assert lines(taken, ["id"], ["id"], WHOLE) == [b"1"]
    wait_until(lambda: not database.rows("SELECT FROM pg_replication_slots WHERE slot_name LIKE '%copy%'"), what="no slot is left behind")


@pytest.mark.parametrize("ruin", ["TRUNCATE t", "ALTER TABLE t ALTER id TYPE bigint"])
def test_an_exact_snapshot_does_not_take_a_table_that_was_emptied_for_empty(database: Database, source: PostgresSource, ruin: str) -> None:
    """TRUNCATE and rewrites show in snapshots that are older than they."""
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "INSERT INTO t SELECT generate_series(1, 10)")
    source.publish([T])
    taken = source.exact_snapshot([T], lambda: True)
    assert taken is not None
    with closing(taken):
        database.run(ruin)
        with pytest.raises(SourceError, match="emptied or rewritten") as error:
            lines(taken, ["id"], ["id"], WHOLE)
    assert error.value.kind == "source_unavailable"


@pytest.mark.parametrize("limit", ["max_replication_slots", "max_wal_senders"])
def test_without_a_slot_to_spare_the_reason_is_told(
    make_cluster: ClusterFactory, make_database: Callable[[PrivatePostgres], Database], limit: str
) -> None:
    database = make_database(make_cluster(settings={limit: "1"}))
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    source_of(database).publish([T])
    with closing(source_of(database).open_log([T], None, False)), pytest.raises(SourceError) as error:
        source_of(database).exact_snapshot([T], lambda: True)
    assert error.value.kind == "slots_exhausted"
