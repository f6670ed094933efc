"""Verification on real servers of all kinds: what is planted is found, what moves is not mistaken, repairs work, types compare."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psycopg
import pytest

from headwater import adapters
from headwater.engine import verify as verification
from headwater.engine.control import Control, SystemClock
from headwater.engine.orders import VerifyLoad
from headwater.engine.verifications import Verifications
from headwater.ports.runtime import VerifiedTable, VerifyReport
from headwater.ports.store import DataSource, Task, Verification
from tests.databases import AnyDatabase, D, Database, wait_until
from tests.integration.world import World
from tests.pairs import Sides, on

SAME = "oldest-newest"
"""A pair of one kind, for what does not depend on what databases they are."""

ALPHABET = "substr('ABCDEFGHIJKLMNOPQRSTUVWXYZ', i % 26 + 1, 1)"


def tables(database: AnyDatabase) -> tuple[str, ...]:
    """Their statements."""
    return (
        f"CREATE TABLE items (id bigint PRIMARY KEY, a text, b text, n numeric(10,2), placed {database.instant})",
        "CREATE TABLE notes (id varchar(20) PRIMARY KEY, v text)",
    )


def rows(database: AnyDatabase) -> tuple[str, ...]:
    """The statements that fill the tables."""
    placed = database.at("2026-01-01 00:00:00.5")
    return (
        f"INSERT INTO items SELECT i, concat('a', i), concat('b', i), i / 7.0, {placed} FROM {database.series(1, 3000)}",
        f"INSERT INTO notes SELECT concat({ALPHABET}, substr('-_x', i % 3 + 1, 1), i), concat('ü', i) FROM {database.series(1, 900)}",
    )


@pytest.fixture
def world(tmp_path: Path, sides: Sides) -> World[AnyDatabase]:
    """Two tables, filled, on two servers."""
    source, target = sides
    source.run(*tables(source), *rows(source))
    target.run(*tables(target))
    made = World(tmp_path, source, target)
    made.verify = VerifyLoad(chunk_rows=500, pause_s=0.0, statement_timeout_s=30.0, settle_s=20.0)
    made.add_task("task", ["items", "notes"])
    return made


@contextmanager
def followed(world: World[D]) -> Iterator[World[D]]:
    """The task runs, and has copied everything."""
    with world.running():
        world.wish("task", running=True)
        world.await_state("task", "following")
        world.await_same("items", "notes")
        yield world


def begin(world: World[D], repair: bool = False) -> str:
    """Wish a verification."""
    wished = Verification(uuid.uuid4().hex, "task", "test", repair, after_reset=False, asked_ms=1)
    world.store.save_verification(wished)
    world.supervisor.nudge()
    return wished.id


def await_end(world: World[D], verification_id: str) -> Verification:
    """Wait until it has ended."""

    def ended() -> Verification | None:
        return next((v for v in world.store.verifications("task") if v.id == verification_id and not v.open), None)

    found = wait_until(ended, 60, "the verification has ended")
    assert found is not None
    return found


def verify(world: World[D], running: bool = True) -> VerifyReport:
    """Verify in this process, without a repair."""
    made = _verifications(world)._order(Verification("v", "task", "test", repair=False, after_reset=False, asked_ms=1), _task(world))
    assert made is not None
    source, target = (adapters.source_of(_data_source(world, "source")), adapters.target_of(_data_source(world, "target")))
    reader = partial(adapters.journal_reader, Path(made.journal_dir))
    control = Control()
    control.tell({"running": running})
    verification.verify(
        verification.VerifyJob("task", made.mappings, made.shared, source, target, reader, False, made.load), control, SystemClock()
    )
    assert isinstance(control.report, VerifyReport)
    return control.report


def repair(world: World[D]) -> Verification:
    """Verify with a repair, in a worker."""
    return await_end(world, begin(world, repair=True))


def table(verification: Verification | VerifyReport, name: str) -> VerifiedTable:
    """What was found in a table."""
    return next(t for t in verification.tables if t.target_table.endswith(f".{name}"))


def found(verification: Verification | VerifyReport, name: str) -> set[tuple[str, str]]:
    """Differing keys with their kinds."""
    return {(one.key[0], one.kind) for one in table(verification, name).keys}


def damage(target: AnyDatabase) -> tuple[str, ...]:
    """What is done to a target, a row each."""
    return (
        "DELETE FROM items WHERE id = 7",
        "INSERT INTO items (id, a) VALUES (100000, 'extra')",
        "UPDATE items SET n = n + 0.01 WHERE id = 1500",
        "UPDATE items SET a = b, b = a WHERE id = 1600",
        "UPDATE items SET a = '' WHERE id = 1700",  # NULL at the source
        f"UPDATE items SET placed = {target.at('2026-01-01 00:00:00.500001')} WHERE id = 3000",
        "UPDATE notes SET v = concat(v, ' ') WHERE id = 'Ax26'",
    )


@on(SAME, "oldest-mariadb", "newest-mysql", "mariadb-newest", "mysql-mariadb")
def test_each_planted_difference_is_found_and_then_repaired(world: World[AnyDatabase]) -> None:
    with followed(world):
        world.source.run("UPDATE items SET a = NULL WHERE id = 1700")
        world.await_same("items")
        before = verify(world)
        assert before.outcome == "equal"
        assert [t.rows for t in before.tables] == [3000, 900]
        assert before.offset is not None
        world.target.run(*damage(world.target))
        seen = verify(world)
        assert seen.outcome == "different"
        differing = {(str(key), "differing") for key in (1500, 1600, 1700, 3000)}
        assert found(seen, "items") == {("7", "missing"), ("100000", "extra"), *differing}
        assert table(seen, "notes").differing == 1
        repaired = repair(world)
        assert repaired.outcome == "repaired"
        assert (table(repaired, "items").repaired, table(repaired, "notes").repaired) == (6, 1)
        assert world.same("items")
        assert world.same("notes")
        assert verify(world).outcome == "equal"


@on(SAME, "oldest-mariadb", "mariadb-newest")
def test_under_load_nothing_false_is_found_and_what_is_planted_is_repaired(world: World[AnyDatabase]) -> None:
    over, made = threading.Event(), [0]

    def work() -> None:
        with world.source.session(autocommit=True) as connection:
            while not over.is_set():
                made[0] += 1
                n = made[0]
                connection.execute("UPDATE items SET n = %s WHERE id = %s", [n, n * 37 % 1000 + 1])
                connection.execute("INSERT INTO items (id, a) VALUES (%s, 'new')", [10_000 + n])
                if n % 3 == 0:
                    connection.execute("UPDATE items SET id = -id WHERE id = %s", [10_000 + n])  # another key
                if n > 50:
                    connection.execute("DELETE FROM items WHERE abs(id) = %s", [10_000 + n - 50])

    with followed(world):
        worker = threading.Thread(target=work)
        worker.start()
        try:
            wait_until(lambda: made[0] > 100, what="it works")
            quiet = verify(world)
            assert sum(t.different for t in quiet.tables) == 0
            assert quiet.outcome in ("equal", "unsettled")
            world.target.run("DELETE FROM items WHERE id = 2000", "UPDATE items SET a = 'wrong' WHERE id BETWEEN 1200 AND 1250")
            during = made[0]
            repaired = repair(world)
            assert made[0] > during
        finally:
            over.set()
            worker.join()
        world.await_same("items")
        assert (table(repaired, "items").missing, table(repaired, "items").differing, table(repaired, "items").repaired) == (1, 51, 52)


@on(SAME, "mariadb-newest")
def test_a_stopped_task_is_proved_up_to_its_checkpoint(world: World[AnyDatabase]) -> None:
    with followed(world):
        world.wish("task", running=False)
        world.await_state("task", "stopped")
        world.source.run("UPDATE items SET a = 'later' WHERE id <= 10", "DELETE FROM items WHERE id = 11")
        world.target.run("UPDATE items SET a = 'wrong' WHERE id = 500")
        seen = verify(world, running=False)
        assert found(seen, "items") == {("500", "differing")}
        assert table(seen, "items").unsettled == 11
        assert "stopped task" in table(seen, "items").message


@on(SAME)
def test_it_survives_its_worker_and_the_service(world: World) -> None:
    world.verify = VerifyLoad(chunk_rows=100, pause_s=0.3)

    def compares() -> bool:
        return any(t.rows for t in world.store.verifications("task")[0].tables)

    with followed(world):
        verification_id = begin(world)
        wait_until(compares, what="it compares")
        held = _verifications(world)._running[verification_id]
        assert held.post.worker is not None
        held.post.worker.kill()
        wait_until(lambda: held.failures == 1 and held.post.busy and compares(), what="it compares again")
    assert world.store.verifications("task")[0].open
    with world.running():
        ended = await_end(world, verification_id)
    assert ended.outcome == "equal"
    assert "interrupted" in ended.message


@on(SAME)
def test_what_can_not_be_compared_is_named(world: World) -> None:
    with followed(world):
        world.wish("task", running=False)
        world.await_state("task", "stopped")
        world.target.run("DROP TABLE notes", "ALTER TABLE items DROP COLUMN b", "ALTER TABLE items ADD b tsvector")
        seen = verify(world, running=False)
    assert table(seen, "notes").state == "not_compared"
    assert "does not exist" in table(seen, "notes").message
    assert seen.outcome in ("unsettled", "different")


TYPES = """
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE DOMAIN price AS numeric(10,2);
CREATE TYPE pair AS (x int, y text);
CREATE TABLE many (id int PRIMARY KEY, i2 {i2}, i4 {i4}, num {num}, r {r}, d double precision, b {b}, c {c}, v {v}, t text, y bytea,
    ts {ts}, tz timestamptz, da {da}, ti time, iv interval, u {u}, j {j}, jb jsonb, arr {arr}, e {e}, p {p}, co pair, rng int4range,
    net {net}, bits {bits}, m money, g point, o {o})
"""
SOURCE_TYPES = {
    "i2": "smallint", "i4": "int", "num": "numeric(8,1)", "r": "real", "b": "boolean", "c": "char(5)", "v": "varchar(10)",
    "ts": "timestamp", "da": "date", "u": "uuid", "j": "json", "arr": "int[]", "e": "mood", "p": "numeric(10,2)", "net": "inet",
    "bits": "bit(5)", "o": "oid",
}  # fmt: skip
TARGET_TYPES = {
    "i2": "bigint", "i4": "numeric", "num": "numeric(12,3)", "r": "double precision", "b": "text", "c": "varchar(20)", "v": "char(12)",
    "ts": "timestamptz", "da": "timestamp", "u": "text", "j": "jsonb", "arr": "bigint[]", "e": "text", "p": "price", "net": "text",
    "bits": "bit varying(9)", "o": "bigint",
}  # fmt: skip
VALUES = """
INSERT INTO many SELECT i, i, -i, i / 10.0, i / 3.0::real, i / 3.0, i % 2 = 0, 'c' || i % 10, 'v' || i, E'ü\\t\\\\' || i,
    ('\\\\x00ff0' || i % 10)::bytea, timestamp '2026-01-01 00:00:00.5' + i * interval '1 day',
    timestamptz '2026-03-29 01:30+01' + i * interval '1 hour', date '0044-03-15 BC' + i, time '23:59:59.999',
    interval '1 mon -2 days 03:00:00.5' * i, md5(i::text)::uuid, '{"b": 1,  "a": [1, null]}', '{"b": 1, "a": 2.50}',
    ARRAY[i, NULL, -i], CASE i % 2 WHEN 0 THEN 'sad' ELSE 'ok' END::mood, i * 1.1, ROW(i, 'x,"y')::pair, int4range(i, i + 5),
    '10.0.0.1/8'::inet, i::bit(5), i * 1.5, point(i, 1 / 3.0), i
FROM generate_series(1, 30) i;
INSERT INTO many (id, r, d, ts, tz, num) VALUES (100, 'NaN', '-Infinity', 'infinity', '-infinity', 'NaN');
INSERT INTO many (id, r, d) VALUES (101, '1e-30', 1e300);
INSERT INTO many (id) VALUES (102)
"""


@on(SAME)
def test_values_of_all_types_have_the_same_text_on_both_sides(world: World) -> None:
    """Into columns of the same types (table `same`) and of others."""
    for database, zone, style in ((world.source, "Asia/Kolkata", "iso_8601"), (world.target, "America/New_York", "sql_standard")):
        for setting in (f"TimeZone = '{zone}'", f"IntervalStyle = '{style}'", "extra_float_digits = 0", "bytea_output = 'escape'"):
            database.run(f"ALTER DATABASE {database.name} SET {setting}")
    _run(world.source, TYPES.format(**SOURCE_TYPES), VALUES)
    _run(world.target, TYPES.format(**SOURCE_TYPES), "ALTER TABLE many RENAME TO same")
    _run(world.target, TYPES.rpartition("CREATE")[1] + TYPES.rpartition("CREATE")[2].format(**TARGET_TYPES))
    world.add_mapping("task", "many")
    world.add_mapping("task", "many", target="same")
    with followed(world):
        wait_until(lambda: world.target.rows("SELECT count(*) FROM many JOIN same USING (id)")[0][0] == 33, what="copied")
        seen = verify(world)
        assert [(t.state, t.left_out) for t in seen.tables[2:]] == [("equal", ()), ("equal", ())]
        columns = [row[0] for row in world.target.rows("SELECT attname FROM pg_attribute WHERE attrelid = 'many'::regclass AND attnum > 1")]
        for at, column in enumerate(columns):  # a column each in another row: each is really looked at
            for name in ("many", "same"):
                _run(world.target, f'UPDATE {name} SET "{column}" = NULL WHERE id = {at + 1}')
        seen = verify(world)
        assert found(seen, "many") == found(seen, "same") == {(str(at + 1), "differing") for at in range(len(columns))}


@on("newest-mysql")
def test_columns_without_a_common_text_are_left_out_by_name(world: World[AnyDatabase]) -> None:
    world.source.run("CREATE TABLE docs (id int PRIMARY KEY, doc jsonb)", "INSERT INTO docs VALUES (1, '{\"a\": 1e20}')")
    world.target.run("CREATE TABLE docs (id int PRIMARY KEY, doc json)")
    world.add_mapping("task", "docs")
    with followed(world):
        seen = table(verify(world), "docs")
    assert (seen.state, seen.left_out) == ("equal", ("doc (jsonb) and doc (mysql:json) have no common text",))


@on(SAME)
def test_differently_ordered_keys_are_compared_all_the_same(world: World) -> None:
    """The source orders its keys as numbers, the target as texts."""
    _run(world.source, "CREATE TABLE words (id int PRIMARY KEY, v int)")
    _run(world.source, "INSERT INTO words SELECT i * 7, i FROM generate_series(1, 2000) i")
    _run(world.target, "CREATE TABLE words (id text PRIMARY KEY, v int)")
    world.add_mapping("task", "words")
    with followed(world):
        wait_until(lambda: world.target.rows("SELECT count(*) FROM words")[0][0] == 2000, what="copied")
        assert table(verify(world), "words").state == "equal"
        _run(world.target, "DELETE FROM words WHERE id = '77'", "INSERT INTO words VALUES ('99999', 1), ('no number', 2)")
        _run(world.target, "UPDATE words SET v = -1 WHERE id = '7007'")
        seen = verify(world)
        assert found(seen, "words") == {("77", "missing"), ("7007", "differing"), ("99999", "extra"), ("no number", "extra")}


@on(SAME)
def test_statements_are_short_and_hold_nobody_up(world: World) -> None:
    """While a verification runs, no transaction of ours is old at either side, and nobody waits for a lock of ours."""
    world.verify = VerifyLoad(chunk_rows=100, pause_s=0.01)
    old = (
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'headwater' AND datname = current_database() "
        "AND state <> 'idle' AND query NOT LIKE '%START_REPLICATION%' AND xact_start < clock_timestamp() - interval '5 s'"
    )
    with followed(world):
        thread = threading.Thread(target=verify, args=(world,))
        thread.start()
        while thread.is_alive():
            assert [side.rows(old)[0][0] for side in (world.source, world.target)] == [0, 0]
            world.source.run("SET lock_timeout = '5s'; ALTER TABLE notes ALTER v SET DEFAULT ''")
            thread.join(0.05)


def _verifications(world: World[D]) -> Verifications:
    return world.supervisor._verifications  # the tests' own look inside


def _task(world: World[D]) -> Task:
    task = world.store.task("task")
    assert task is not None
    return task


def _data_source(world: World[D], name: str) -> DataSource:
    found = world.store.data_source(name)
    assert found is not None
    return found


def _run(database: Database, *scripts: str) -> None:
    """Run scripts of several statements."""
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        for script in scripts:
            for statement in script.split(";"):
                if statement.strip():
                    connection.execute(statement.encode())
