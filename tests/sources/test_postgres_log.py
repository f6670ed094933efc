"""The log of a PostgreSQL source on real servers: what it brings, what it confirms, and how it ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from headwater.clusters import PrivatePostgres
from headwater.domain.errors import SourceError
from headwater.sources.log import QUEUE_BYTES_MAX
from headwater.sources.postgres import PostgresSource, capture, publication, reader, stream
from tests.conftest import ClusterFactory
from tests.crash.proxy import Proxy
from tests.databases import Database, wait_until
from tests.sources.postgres_logs import Follower, Row, rows_of, source_of, table

T = table("t")


@pytest.fixture
def source(database: Database) -> PostgresSource:
    """A source with a table `t`, published."""
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text, b numeric(10, 2))")
    made = source_of(database)
    made.publish([T])
    return made


@pytest.fixture(params=["socket", "libpq"])
def route(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of reading the stream: the socket itself, and libpq as on an encrypted connection."""
    if request.param == "libpq":
        monkeypatch.setattr(stream, "readable", lambda connection: False)


@pytest.fixture
def follow(source: PostgresSource) -> Iterator[Callable[..., Follower]]:
    """Opens logs that are closed after the test."""
    with ExitStack() as stack:

        def opened(after: str | None = None, new_history: bool = False, of: PostgresSource | None = None) -> Follower:
            return Follower(stack.enter_context(closing((of or source).open_log([T], after, new_history))))

        yield opened


def full(id: int, a: str | None = None, b: str | None = None) -> Row:
    return {"id": b"%d" % id, "a": a and a.encode(), "b": b and b.encode()}


def confirmed(database: Database) -> str:
    rows = database.rows("SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE database = current_database()")
    return str(rows[0][0])


@pytest.mark.usefixtures("route")
def test_every_kind_of_change(database: Database, follow: Callable[..., Follower]) -> None:
    log = follow()
    long = "x" * 300
    database.run(
        "ALTER TABLE t ALTER a SET STORAGE EXTERNAL",
        f"INSERT INTO t VALUES (1, 'ä', 1.5), (2, NULL, NULL), (3, repeat('{long}', 30), 0)",
        "UPDATE t SET a = 'c' WHERE id = 2",
        "UPDATE t SET b = 9 WHERE id = 3",
        "UPDATE t SET id = 4 WHERE id = 3",
        "DELETE FROM t WHERE id = 1",
        "TRUNCATE t",
    )
    changes = [(op, values) for _, op, values in log.rows(9)]
    assert changes == [
        ("INSERT", full(1, "ä", "1.50")),
        ("INSERT", full(2)),
        ("INSERT", full(3, long * 30, "0.00")),
        ("UPDATE", full(2, "c")),
        ("UPDATE", {"id": b"3", "b": b"9.00"}),
        ("KEY_OLD", full(3)),
        ("KEY_NEW", {"id": b"4", "b": b"9.00"}),
        ("DELETE", full(1)),
        ("TRUNCATE", {"id": None, "a": None, "b": None}),
    ]


def test_schema_and_stamps(database: Database, follow: Callable[..., Follower]) -> None:
    log = follow()
    with database.connect() as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        log.rows(1)
        now_us = connection.execute("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint").fetchone()
    (frame,) = log.frames
    schema = frame.batches[0].schema
    assert [(c.name, c.type, c.key, c.nullable) for c in schema.columns] == [
        ("id", "integer", True, False),
        ("a", "text", False, True),
        ("b", "numeric(10,2)", False, True),
    ]
    (told,) = frame.transactions.to_pylist()
    assert now_us is not None
    assert now_us[0] - 60_000_000 < told["commit_us"] <= told["seen_us"] <= now_us[0] + 1_000_000
    assert told["rows"] == 1


def test_described_schema_equals_the_captured_one(source: PostgresSource, database: Database, follow: Callable[..., Follower]) -> None:
    log = follow()
    database.run("INSERT INTO t VALUES (1)")
    log.rows(1)
    assert source.describe([T, table("missing")]) == {T: log.frames[0].batches[0].schema}


def test_full_identity(database: Database, follow: Callable[..., Follower]) -> None:
    """The old row fills what was not sent, and the primary key stays the key."""
    log = follow()
    long = "y" * 9000
    database.run(
        "ALTER TABLE t ALTER a SET STORAGE EXTERNAL",
        "ALTER TABLE t REPLICA IDENTITY FULL",
        f"INSERT INTO t VALUES (1, '{long}')",
        "UPDATE t SET b = 1",
        "UPDATE t SET id = 2",
        "DELETE FROM t",
    )
    assert [(op, values) for _, op, values in log.rows(5)] == [
        ("INSERT", full(1, long)),
        ("UPDATE", full(1, long, "1.00")),
        ("KEY_OLD", full(1)),
        ("KEY_NEW", full(2, long, "1.00")),
        ("DELETE", full(2)),
    ]


def test_replica_identity_index_is_the_key(database: Database, follow: Callable[..., Follower], source: PostgresSource) -> None:
    database.run("ALTER TABLE t ALTER a SET NOT NULL", "CREATE UNIQUE INDEX ta ON t (a)", "ALTER TABLE t REPLICA IDENTITY USING INDEX ta")
    log = follow()
    database.run("INSERT INTO t VALUES (1, 'x')", "DELETE FROM t")
    assert log.rows(2)[1] == ("public.t", "DELETE", {"id": None, "a": b"x", "b": None})
    assert log.frames[0].batches[0].schema.key == source.describe([T])[T].key == ("a",)


def test_a_key_out_of_line_that_did_not_change(database: Database, follow: Callable[..., Follower]) -> None:
    """A long key is stored out of line; an update of another column sends it as the old key only."""
    database.run("CREATE TABLE k (id text PRIMARY KEY, a int)", "ALTER TABLE k ALTER id SET STORAGE EXTERNAL")
    source = source_of(database)
    source.publish([T, table("k")])
    log = follow()
    key = "k" * 2500
    database.run(f"INSERT INTO k VALUES ('{key}', 1)", "UPDATE k SET a = 2")
    assert log.rows(2)[1] == ("public.k", "UPDATE", {"id": key.encode(), "a": b"2"})


def test_columns_that_come_and_go(database: Database, follow: Callable[..., Follower]) -> None:
    log = follow()
    database.run("INSERT INTO t VALUES (1)", "ALTER TABLE t ADD c bool", "INSERT INTO t VALUES (2, NULL, NULL, true)")
    database.run("ALTER TABLE t DROP a", "INSERT INTO t VALUES (3)")
    assert [values for _, _, values in log.rows(3)] == [full(1), {**full(2), "c": b"t"}, {"id": b"3", "b": None, "c": None}]


def test_generated_columns_are_not_in_the_log(database: Database, follow: Callable[..., Follower], source: PostgresSource) -> None:
    database.run("CREATE TABLE g (id int PRIMARY KEY, twice int GENERATED ALWAYS AS (id * 2) STORED)")
    source.publish([T, table("g")])
    log = follow()
    database.run("INSERT INTO g VALUES (1)")
    assert log.rows(1)[0][2] == {"id": b"1"}
    assert [(c.name, c.writable) for c in source.describe([table("g")])[table("g")].columns] == [("id", True), ("twice", False)]


def test_partitions_come_as_their_table(database: Database, follow: Callable[..., Follower], source: PostgresSource) -> None:
    database.run(
        "CREATE TABLE p (id int PRIMARY KEY, a text) PARTITION BY RANGE (id)",
        "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (10)",
        "CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)",
    )
    source.publish([table("p"), T])
    assert table("p") in source.tables()
    assert table("p1") not in source.tables()
    log = follow()
    database.run("INSERT INTO p VALUES (1, 'x'), (11, 'y')", "TRUNCATE p")
    changes = log.rows(3)
    assert {name for name, _, _ in changes} == {"public.p"}
    assert [op for _, op, _ in changes] == ["INSERT", "INSERT", "TRUNCATE"]


def test_a_table_added_while_the_log_is_open(database: Database, follow: Callable[..., Follower], source: PostgresSource) -> None:
    log = follow()
    database.run("CREATE TABLE n (id int PRIMARY KEY)", "INSERT INTO n VALUES (1)")
    assert not source.published([T, table("n")])
    source.publish([T, table("n")])
    assert source.published([T, table("n")])
    database.run("INSERT INTO n VALUES (2)", "INSERT INTO t VALUES (1)")
    assert [name for name, _, _ in log.rows(2)] == ["public.n", "public.t"]
    source.publish([T])
    assert not source.published([table("n")])


def test_rolled_back_and_unpublished_changes_do_not_come(
    database: Database, follow: Callable[..., Follower], source: PostgresSource
) -> None:
    log = follow()
    database.run("CREATE TABLE other (id int)", "INSERT INTO other VALUES (1)")
    with database.connect(autocommit=False) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        connection.rollback()
    database.run("INSERT INTO t VALUES (2)")
    assert log.rows(1) == [("public.t", "INSERT", full(2))]
    assert [frame.transactions.num_rows for frame in log.frames] == [1]


def test_no_transaction_twice_and_none_missing_after_a_crash(database: Database, follow: Callable[..., Follower]) -> None:
    """The journal may be ahead of what the slot heard: what it has is not sent again, whatever the slot says (P3)."""
    log = follow()
    database.run("INSERT INTO t VALUES (1)")
    log.rows(1)
    place = log.position
    database.run("INSERT INTO t VALUES (2)")
    log.log.close()
    assert [values for _, _, values in follow(place).rows(1)] == [full(2)]


def test_only_what_was_confirmed_is_confirmed(database: Database, follow: Callable[..., Follower], source: PostgresSource) -> None:
    """P1. The server hears nothing beyond `confirm`, however much was read."""
    log = follow()
    database.run("INSERT INTO t VALUES (1)")
    log.rows(1)
    safe = log.position
    log.log.confirm(safe)
    database.run("INSERT INTO t VALUES (2)")
    log.rows(2)
    wait_until(lambda: confirmed(database) == safe, what="the confirmation")
    heard = len(log.heard)
    log.until(lambda: len(log.heard) >= heard + 2)
    assert confirmed(database) == safe
    log.log.close()
    assert [values for _, _, values in follow(safe).rows(1)] == [full(2)]


def test_an_idle_database_keeps_no_log_because_of_us(database: Database, follow: Callable[..., Follower], source: PostgresSource) -> None:
    """Without changes for us the heartbeats move on with the server's log, so that the caller can confirm them."""
    log = follow()
    database.run("CREATE TABLE other (id int)", "INSERT INTO other SELECT generate_series(1, 10000)")
    end = str(database.rows("SELECT pg_current_wal_flush_lsn()::text")[0][0])
    log.passed(source, end)
    assert log.row_count == 0
    log.log.confirm(log.position)
    wait_until(lambda: source.reached(confirmed(database), end), what="the confirmation")


@pytest.mark.usefixtures("route")
def test_heartbeats_bring_the_clock_of_the_source(database: Database, follow: Callable[..., Follower]) -> None:
    log = follow()
    log.until(lambda: len(log.heard) >= 3)
    clocks = [captured.source_us for captured in log.heard]
    assert clocks == sorted(set(clocks))
    now_us = database.rows("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint")[0][0]
    assert 0 <= now_us - clocks[-1] < 60_000_000
    assert all(captured.behind_bytes == 0 and not captured.frames for captured in log.heard)


@pytest.mark.usefixtures("route")
def test_the_server_is_answered_while_nobody_takes(make_cluster: ClusterFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The box is full and reading has stopped, for longer than the server waits for a word of its receivers (trap 2, P9)."""
    monkeypatch.setattr(capture, "QUEUE_BYTES_MAX", 200_000)
    monkeypatch.setattr(reader, "FRAME_BYTES_MAX", 50_000)
    cluster = make_cluster(settings={"wal_sender_timeout": "'2s'"})
    database = Database(cluster, "postgres")
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    source = source_of(database)
    source.publish([T])
    with closing(source.open_log([T], None, False)) as log:
        for i in range(60):
            database.run(f"INSERT INTO t SELECT {i}000 + i, repeat('x', 100) FROM generate_series(1, 900) i")
        started = database.rows("SELECT clock_timestamp()")[0][0]
        waited = f"SELECT extract(epoch FROM clock_timestamp() - '{started}'::timestamptz) > 5"
        wait_until(lambda: database.rows(waited)[0][0], what="five seconds without a taker")
        assert database.rows("SELECT count(*) FROM pg_stat_replication")[0][0] == 1
        assert "terminating walsender" not in cluster.log_tail()
        assert len(Follower(log).rows(54_000)) == 54_000


@pytest.mark.usefixtures("route")
def test_a_large_transaction_comes_in_parts(
    database: Database, follow: Callable[..., Follower], source: PostgresSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Earlier transactions go first as a frame of their own, and the place stays in front until the last part."""
    monkeypatch.setattr(capture, "FRAME_ROWS_MAX", 1000)
    log = follow()
    with database.connect(autocommit=False) as connection:
        connection.execute("INSERT INTO t SELECT generate_series(1, 3500)")
        database.run("INSERT INTO t VALUES (-1)", "INSERT INTO t VALUES (-2)")
        before = str(connection.execute("SELECT pg_current_wal_flush_lsn()::text").fetchall()[0][0])
        connection.commit()
    database.run("INSERT INTO t VALUES (-3)")
    log.rows(3503)
    parts = [frame for frame in log.frames if not frame.whole]
    assert [(frame.part, frame.last) for frame in parts] == [(0, False), (1, False), (2, False), (3, True)]
    assert [frame.transactions.column("rows").to_pylist() for frame in parts] == [[1000], [1000], [1000], [500]]
    assert all(set(batch.data.column(1).to_pylist()) == {0} for frame in parts for batch in frame.batches)
    assert len({tuple(frame.transactions.column("commit_us").to_pylist()) for frame in parts}) == 1
    assert [int(values["id"]) for _, _, values in rows_of(parts)] == list(range(1, 3501))
    at = [frame.whole for frame in log.frames].index(False)
    assert sum(frame.transactions.num_rows for frame in log.frames[:at]) == 2
    open_places = [c.position for c in log.heard if c.frames and not c.frames[-1].last]
    assert all(source.reached(before, place) for place in open_places)


@pytest.mark.usefixtures("route")
def test_a_gigantic_transaction_takes_constant_memory(database: Database, follow: Callable[..., Follower]) -> None:
    """What waits is bounded in bytes, rows of a megabyte included; the rest stays at the server (P9)."""
    log = follow()
    database.run("INSERT INTO t SELECT i, repeat(chr(64 + i % 26), 1000000) FROM generate_series(1, 150) i")
    reading = log.log
    assert isinstance(reading, capture.PostgresLog)
    wait_until(lambda: reading.waiting_bytes >= QUEUE_BYTES_MAX, what="a full box")
    assert reading.waiting_bytes <= QUEUE_BYTES_MAX + reader.FRAME_BYTES_MAX + 2_000_000
    log.rows(150)
    assert max(frame.batches[0].data.nbytes for frame in log.frames if frame.batches) < reader.FRAME_BYTES_MAX + 2_000_000


def test_the_slot_is_gone(source: PostgresSource, database: Database, follow: Callable[..., Follower]) -> None:
    log = follow()
    log.until(lambda: log.heard)
    place = log.position
    log.log.close()
    wait_until(lambda: not database.rows("SELECT FROM pg_replication_slots WHERE active AND database = current_database()"))
    database.run(f"SELECT pg_drop_replication_slot('{source.config.slot}')")
    assert not source.published([T])
    source.publish([T])  # does not make a lost slot anew
    with pytest.raises(SourceError, match="it is gone") as caught:
        follow(place)
    assert caught.value.kind == "slot_lost"
    again = follow(None, new_history=True)
    database.run("INSERT INTO t VALUES (7)")
    again.rows(1)


def test_the_slot_stands_beyond_what_was_captured(source: PostgresSource, database: Database, follow: Callable[..., Follower]) -> None:
    """PostgreSQL would silently send from where the slot stands (trap 3)."""
    log = follow()
    log.until(lambda: log.heard)
    place = log.position
    log.log.close()
    database.run("INSERT INTO t VALUES (1)")
    wait_until(lambda: not database.rows("SELECT FROM pg_replication_slots WHERE active AND database = current_database()"))
    database.run(f"SELECT pg_replication_slot_advance('{source.config.slot}', pg_current_wal_lsn())")
    with pytest.raises(SourceError, match="beyond") as caught:
        follow(place)
    assert caught.value.kind == "slot_lost"


def test_the_server_was_set_back(follow: Callable[..., Follower]) -> None:
    with pytest.raises(SourceError, match="restored from a backup") as caught:
        follow("FFFF/0")
    assert caught.value.kind == "slot_lost"


def test_the_publication_was_dropped(source: PostgresSource, database: Database, follow: Callable[..., Follower]) -> None:
    """Without it the log leaves our tables out, on some versions without an error: the slot is not trusted any more (P7)."""
    log = follow()
    database.run("INSERT INTO t VALUES (1)")
    log.rows(1)
    place = log.position
    log.log.close()
    database.run(f"DROP PUBLICATION {source.config.publication}", "INSERT INTO t VALUES (2)")
    source.publish([T])
    with pytest.raises(SourceError) as caught:
        follow(place)
    assert caught.value.kind == "slot_lost"


@pytest.mark.usefixtures("route")
def test_the_publication_is_dropped_while_we_read(source: PostgresSource, database: Database, follow: Callable[..., Follower]) -> None:
    log = follow()
    database.run(f"DROP PUBLICATION {source.config.publication}", "INSERT INTO t VALUES (2)")
    with pytest.raises(SourceError) as caught:
        log.rows(1)
    assert caught.value.kind == "slot_lost"


@pytest.mark.usefixtures("route")
def test_the_slot_is_read_by_somebody_else(
    source: PostgresSource, follow: Callable[..., Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "ACTIVE_SLOT_PATIENCE_S", 0.3)
    follow()
    with pytest.raises(SourceError, match="PID") as caught:
        follow()
    assert caught.value.kind == "source_unavailable"


def test_a_slot_that_becomes_free_is_taken(source: PostgresSource, database: Database, follow: Callable[..., Follower]) -> None:
    """As after the death of our own worker, whose session the server has not noticed yet."""
    first = follow()
    waiting = threading.Timer(0.5, first.log.close)
    waiting.start()
    second = follow()
    database.run("INSERT INTO t VALUES (1)")
    second.rows(1)
    waiting.join()


@pytest.mark.usefixtures("route")
def test_the_server_goes_away(make_cluster: ClusterFactory) -> None:
    cluster = make_cluster()
    database = Database(cluster, "postgres")
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    source = source_of(database)
    source.publish([T])
    with closing(source.open_log([T], None, False)) as log:
        follower = Follower(log)
        database.run("INSERT INTO t VALUES (1)")
        follower.rows(1)
        cluster.kill()
        with pytest.raises(SourceError) as caught:
            follower.rows(2)
        assert caught.value.kind == "source_unavailable"
        with pytest.raises(SourceError):
            log.next(0)
    with pytest.raises(SourceError) as caught:
        source.test()
    assert caught.value.kind == "source_unavailable"
    cluster.start()
    database.run("INSERT INTO t VALUES (2)")
    with closing(source.open_log([T], follower.position, False)) as log:
        assert [values for _, _, values in Follower(log).rows(1)] == [{"id": b"2"}]


@pytest.mark.usefixtures("route")
def test_a_server_that_falls_silent_is_given_up(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection stays open and swallows everything, so that neither side is told (P9). What was missed comes with the next one."""
    monkeypatch.setattr(reader, "SILENT_S", 2.0)
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    door = Proxy((database.cluster.host, database.cluster.port))
    with closing(door):
        source = source_of(database, host=door.host, port=door.port)
        source.publish([T])
        with closing(source.open_log([T], None, False)) as log:
            follower = Follower(log)
            database.run("INSERT INTO t VALUES (1)")
            follower.rows(1)
            heard = len(follower.heard)
            follower.until(lambda: len(follower.heard) > heard + 3)  # for longer than that, nothing but heartbeats
            assert door.swallow()
            database.run("INSERT INTO t VALUES (2)")
            with pytest.raises(SourceError, match="The source has sent nothing for 2 s after") as caught:
                follower.rows(2)
            assert caught.value.kind == "source_unavailable"
        door.cut()  # the server's own timeout would end its half
        with closing(source.open_log([T], follower.position, False)) as log:
            assert [values for _, _, values in Follower(log).rows(1)] == [{"id": b"2"}]


def test_a_table_that_lost_its_key_comes_without_one(database: Database, follow: Callable[..., Follower]) -> None:
    """It is for the tasks that map it to stop, and not for all others of the source."""
    log = follow()
    database.run("ALTER TABLE t DROP CONSTRAINT t_pkey", "INSERT INTO t VALUES (1)")
    log.rows(1)
    (batch,) = [batch for frame in log.frames for batch in frame.batches]
    assert (batch.schema.key, batch.data.num_rows) == ((), 1)


def test_a_table_without_a_key_comes_as_whole_rows(database: Database, source: PostgresSource) -> None:
    """Each update is the pair of old and new row, values out of line included, which the log leaves out of the new row."""
    database.run(
        "CREATE TABLE bag (a int, b text)", "ALTER TABLE bag ALTER b SET STORAGE EXTERNAL", "ALTER TABLE bag REPLICA IDENTITY FULL"
    )
    source.publish([table("bag")])
    long = "z" * 9000
    database.run(
        f"INSERT INTO bag VALUES (1, '{long}'), (1, '{long}'), (NULL, NULL)",
        "UPDATE bag SET a = 2 WHERE a = 1",
        "DELETE FROM bag WHERE a IS NULL",
        "TRUNCATE bag",
    )
    one, two, none = ({"a": a, "b": b} for a, b in ((b"1", long.encode()), (b"2", long.encode()), (None, None)))
    with closing(source.open_log([table("bag")], None, False)) as log:
        came = Follower(log)
        assert [(op, values) for _, op, values in came.rows(9)] == [
            *(("INSERT", row) for row in (one, one, none)),
            *[("KEY_OLD", one), ("KEY_NEW", two)] * 2,
            ("DELETE", none),
            ("TRUNCATE", none),
        ]
    assert came.frames[0].batches[0].schema.key == ()


def test_release_leaves_nothing(source: PostgresSource, database: Database, follow: Callable[..., Follower]) -> None:
    follow()
    source.release()
    assert database.rows("SELECT FROM pg_publication") == []
    assert database.rows("SELECT FROM pg_replication_slots WHERE database = current_database()") == []
    source.release()
    assert not source.published([T])


def test_publishing_again_changes_nothing(source: PostgresSource, database: Database) -> None:
    source.publish([T])
    assert source.published([T])
    assert len(database.rows("SELECT FROM pg_replication_slots WHERE database = current_database()")) == 1


def test_values_never_stand_in_errors(database: Database) -> None:
    database.run("CREATE ROLE nosy LOGIN PASSWORD 'secret-password'")
    try:
        with pytest.raises(SourceError) as caught:
            source_of(database, user="nosy", password="wrong-password").test()
        assert caught.value.kind == "source_refused"
        assert "wrong-password" not in str(caught.value)
    finally:
        database.run("DROP ROLE nosy")


def test_settle_waits_for_the_open_ones_only(source: PostgresSource, database: Database) -> None:
    assert source.settle(5)
    with database.connect(autocommit=False) as older:
        older.execute("INSERT INTO t VALUES (1)")
        assert not source.settle(0.2)
        done = threading.Event()
        answers: list[bool] = []

        def settle() -> None:
            answers.append(source.settle(30))
            done.set()

        waiting = threading.Thread(target=settle)
        waiting.start()
        with database.connect(autocommit=False) as younger:
            wait_until(lambda: begun_after(database), what="the wait to begin")
            younger.execute("INSERT INTO t VALUES (2)")
            older.commit()
            assert done.wait(30)
            younger.rollback()
        waiting.join()
        assert answers == [True]


def begun_after(database: Database) -> bool:
    """True once the waiting session is there."""
    query = (
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%txid_snapshot_xmin%' AND pid <> pg_backend_pid()"
    )
    return bool(database.rows(query))


def test_a_slot_can_not_be_made_beside_an_open_transaction(
    database: Database, postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publication, "SLOT_TIMEOUT", "300ms")
    database.run("CREATE TABLE t (id int PRIMARY KEY)")
    source = source_of(database)
    with database.connect(autocommit=False) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(SourceError, match="still open") as caught:
            source.publish([T])
        assert caught.value.kind == "source_unavailable"
        connection.rollback()
    assert not source.published([T])
    with closing(source.open_log([T], None, False)):
        assert source.published([T])
