"""The PostgreSQL target when things go wrong or meet: lost connections, unknown outcomes, several takers at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from headwater.domain.errors import Fenced, HeadwaterError, TargetError
from headwater.domain.merge import MergeStep
from headwater.ports.source import Chunk
from headwater.ports.target import Checkpoint, CopyState, TableState
from headwater.targets.postgres.run import PostgresTargetRun
from headwater.targets.postgres.table_writer import SMALL_ROWS
from tests.databases import Database, wait_until
from tests.targets.test_postgres_target import batch, mapping, merged, target_of

TO = mapping("id", "a")
NAMES = ["id", "a"]


def opened(database: Database, epoch: int = 1) -> PostgresTargetRun:
    target = target_of(database)
    target.raise_epoch("task", epoch)
    return target.open("task", epoch)


def end_sessions(database: Database) -> None:
    """Cut all of our connections, as a restart of the server would."""
    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'headwater' AND datname = current_database()"
    database.rows(query)


def waiting(database: Database) -> bool:
    return bool(database.rows("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'headwater'"))


def test_a_lost_connection_is_to_be_tried_again_and_nothing_of_it_stays(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    run = opened(database)
    run.write([merged(TO, MergeStep(inserts=batch((1, "x"), names=NAMES)))])
    end_sessions(database)
    with pytest.raises(TargetError) as caught:
        run.commit(Checkpoint(1, "j", 1))
    assert caught.value.kind == "target_unavailable"
    run.rollback()
    run.close()
    with pytest.raises(TargetError) as again:
        run.write([merged(TO, MergeStep(inserts=batch((1, "x"), names=NAMES)))])
    assert again.value.kind == "target_unavailable"
    successor = opened(database, 2)
    assert (successor.checkpoint().offset, database.rows("SELECT * FROM t")) == (None, [])
    successor.close()


def test_an_error_in_a_small_write_leaves_nothing_and_the_run_can_be_rolled_back(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text NOT NULL)")
    run = opened(database)
    for count in (1, SMALL_ROWS + 1):
        with pytest.raises(TargetError) as caught:
            run.write([merged(TO, MergeStep(upserts=batch(*((i, None) for i in range(count)), names=NAMES)))])
        assert "column a" in str(caught.value)
        run.rollback()
    run.write([merged(TO, MergeStep(upserts=batch(*((i, "x") for i in range(SMALL_ROWS + 1)), names=NAMES)))])
    run.commit(Checkpoint(1, "j", 1))
    run.close()
    assert database.rows("SELECT count(*) FROM t") == [(SMALL_ROWS + 1,)]


def test_staging_survives_commits_and_rollbacks_and_is_never_written_twice(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    run = opened(database)
    ids = range(SMALL_ROWS + 1)
    for round_ in range(3):
        rows = batch(*((i, f"r{round_}") for i in ids), names=NAMES)
        run.write([merged(TO, MergeStep(upserts=rows))])
        run.write([merged(TO, MergeStep(upserts=batch(*((i + 1000, "more") for i in ids), names=NAMES)))])
        if round_ == 1:
            run.rollback()
        else:
            run.commit(Checkpoint(1, "j", round_))
    run.close()
    assert database.rows("SELECT a, count(*) FROM t GROUP BY a ORDER BY a") == [("more", len(ids)), ("r2", len(ids))]


def test_raising_the_epoch_waits_for_a_commit_that_is_under_way(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    run = opened(database)
    holder = database.connect(autocommit=False)
    holder.execute("UPDATE headwater.checkpoint SET next_offset = 7 WHERE task_id = 'task'")  # as a commit does, right before its end
    with ThreadPoolExecutor(1) as pool:
        taken = pool.submit(target_of(database).raise_epoch, "task", 2)
        wait_until(lambda: waiting(database), what="waiting for the commit")
        assert not taken.done()
        holder.commit()
        assert taken.result(30) == Checkpoint(2, None, 7)
    holder.close()
    with pytest.raises(Fenced):
        run.commit(Checkpoint(1, "j", 8))
    run.close()


def test_a_chunk_under_way_keeps_the_epoch_from_rising_only_at_its_end(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    run = opened(database)
    run.save_table_state(TableState("m", CopyState.COPYING, fresh=True, chunks=(Chunk(0, None, None),)))
    reading, go_on = threading.Event(), threading.Event()

    def rows() -> list[bytes]:
        reading.set()
        assert go_on.wait(30)
        return [b"1\tx\n"]

    def slowly() -> int:
        return run.copy_chunk(TO, Chunk(0, None, None), (block for block in rows()), fresh=True, remove=False)

    with ThreadPoolExecutor(1) as pool:
        copied = pool.submit(slowly)
        assert reading.wait(30)
        assert target_of(database).raise_epoch("task", 2).epoch == 2
        go_on.set()
        assert isinstance(copied.exception(30), Fenced)
    run.close()
    assert database.rows("SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM headwater.chunk_done)") == [(0, 0)]


def test_chunks_of_one_table_are_copied_by_several_threads(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    run = opened(database)
    chunks = [Chunk(i, None if i == 0 else (str(i * 10),), (str(i * 10 + 10),)) for i in range(8)]
    run.save_table_state(TableState("m", CopyState.COPYING, fresh=False, chunks=tuple(chunks)))

    def one(chunk: Chunk) -> int:
        block = b"".join(b"%d\ta\n" % i for i in range(chunk.number * 10 + 1, chunk.number * 10 + 11))
        return run.copy_chunk(TO, chunk, [block], fresh=False, remove=True)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(one, chunks)) == 80
    state = run.table_states()["m"]
    assert (state.rows_done, len(state.chunks_done)) == (80, 8)
    run.close()
    assert database.rows("SELECT count(*) FROM t") == [(80,)]


def test_an_error_while_reading_a_chunk_leaves_nothing(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    run = opened(database)

    def broken() -> object:
        yield b"1\tx\n"
        raise TimeoutError("the source went away")

    with pytest.raises((TimeoutError, HeadwaterError)) as caught:
        run.copy_chunk(TO, Chunk(0, None, None), broken(), fresh=True, remove=False)  # type: ignore[arg-type]
    assert isinstance(caught.value, TimeoutError)
    run.save_table_state(TableState("m"))
    assert run.is_empty(TO.target)
    run.close()


def test_several_tasks_may_come_first_at_the_same_time(database: Database) -> None:
    with ThreadPoolExecutor(6) as pool:
        places = list(pool.map(lambda i: target_of(database).raise_epoch(f"task{i % 3}", 1), range(6)))
    assert places == [Checkpoint(1)] * 6


def test_moving_a_checkpoint_is_done_once_and_forgets_the_states_asked_for(database: Database) -> None:
    run = opened(database)
    run.commit(Checkpoint(1, "j", 50, 10, "0/50", 500))
    for name in ("a", "b"):
        run.save_table_state(TableState(name, CopyState.COPIED, 3))
    run.close()
    target = target_of(database)
    moved = Checkpoint(2, "j", 20, 50, "0/20", 200)
    assert target.raise_epoch("task", 2, Checkpoint(0, None, 20, 0, "0/20", 200), frozenset({"a"})) == moved
    assert target.look("task") == (moved, {"b": TableState("b", CopyState.COPIED, 3)})
    assert target.raise_epoch("task", 2, Checkpoint(0, None, 5), recopy=True) == moved
    assert target.raise_epoch("task", 3, Checkpoint(0), recopy=True) == Checkpoint(3)
    assert target.look("task") == (Checkpoint(3), {})


def test_a_call_that_waits_for_a_lock_is_seen_with_who_holds_it_and_can_be_cut(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    run = opened(database)
    with database.connect(autocommit=False) as other, ThreadPoolExecutor() as pool:
        other.execute("LOCK TABLE t")
        writing = pool.submit(run.write, [merged(TO, MergeStep(inserts=batch((1, "x"), names=NAMES)))])
        wait_until(lambda: waiting(database), what="the write waits")
        seen = run.look()
        assert seen.state == "blocked"
        assert f"a lock that is held by session {other.info.backend_pid} (" in seen.reason
        run.cut()
        with pytest.raises(TargetError) as caught:
            writing.result()
        wait_until(lambda: not waiting(database), what="its session has ended at the server, which would not notice before it has the lock")
    assert caught.value.kind == "target_unavailable"
    run.close()


def test_a_session_that_waits_for_us_while_we_wait_for_it_is_idle(database: Database) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, a text)")
    run = opened(database)
    run.write([merged(TO, MergeStep(inserts=batch((1, "x"), names=NAMES)))])
    with run._asking("a test"):
        assert run.look().state == "idle"
    run.close()


def test_a_session_at_work_is_seen_at_work(database: Database) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, a text)",
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$",
        "CREATE TRIGGER slow BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION slow()",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER slow",
    )
    run = opened(database)
    asleep = "SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND application_name = 'headwater'"
    with ThreadPoolExecutor() as pool:
        writing = pool.submit(run.write, [merged(TO, MergeStep(inserts=batch((1, "x"), names=NAMES)))])
        wait_until(lambda: database.rows(asleep), what="the trigger sleeps")
        assert run.look().state == "working"
        end_sessions(database)
        with pytest.raises(TargetError):
            writing.result()
    run.close()
