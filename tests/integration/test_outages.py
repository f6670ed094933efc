"""What goes away under a running task: source, target, a table, the whole service. It goes on, or says why it can't."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from tests.databases import AnyDatabase, wait_until
from tests.integration.world import World
from tests.pairs import Sides, on

PAIR = "newest-newest"

TABLE = "CREATE TABLE things (id bigint PRIMARY KEY, v text)"


@pytest.fixture(params=[PAIR])
def sides(request: pytest.FixtureRequest, make_own_sides: Callable[[str], Sides]) -> Sides:
    """Two servers that the test may stop."""
    return make_own_sides(request.param)


@pytest.fixture
def world(tmp_path: Path, sides: Sides) -> Iterator[World[AnyDatabase]]:
    """A world over two servers of its own, which the test may stop; a task `t` over one table."""
    source, target = sides
    source.run(TABLE, f"INSERT INTO things SELECT i, concat('v', i) FROM {source.series(1, 1000)}")
    target.run(TABLE)
    made = World(tmp_path, source, target)
    made.add_task("t", ["things"])
    yield made
    made.store.close()


@on(PAIR, "mariadb-mariadb")
def test_servers_that_restart_are_waited_for(world: World[AnyDatabase]) -> None:
    with world.running():
        world.wish("t", True)
        world.await_same("things")
        world.await_state("t", "following")
        world.source.cluster.stop()
        world.await_state("t", "retrying")
        world.source.cluster.start()
        world.source.run("UPDATE things SET v = concat(v, '!')")
        world.await_same("things", timeout_s=60)
        world.await_state("t", "following")
        world.target.cluster.stop()
        world.source.run("UPDATE things SET v = concat(v, '?')")  # an idle apply has nothing to miss its target for
        world.await_state("t", "retrying")
        world.target.cluster.start()
        world.await_same("things", timeout_s=60)
        world.await_state("t", "following")
        task = world.store.task("t")
        assert task is not None
        assert (task.error_kind, task.message) == ("", "")


@pytest.mark.crash
@on(PAIR, "mariadb-newest")
def test_a_source_that_crashes_loses_and_repeats_nothing(world: World[AnyDatabase]) -> None:
    with world.running():
        world.wish("t", True)
        world.await_same("things")
        world.await_state("t", "following")
        for number in range(2):
            world.source.run("UPDATE things SET v = concat(v, '.')", f"DELETE FROM things WHERE id = {1000 - number}")
            world.source.cluster.kill()
            world.source.cluster.start()
        world.await_same("things", timeout_s=60)


def test_a_table_that_is_made_anew_fails_its_task_until_it_is_copied_again_p7(world: World[AnyDatabase]) -> None:
    with world.running():
        world.wish("t", True)
        world.await_same("things")
        world.await_state("t", "following")
    world.source.run("DROP TABLE things", TABLE, "INSERT INTO things VALUES (1, 'new')")
    with world.running():
        world.await_state("t", "failed", timeout_s=60)
        task = world.store.task("t")
        assert task is not None
        assert task.error_kind == "source_refused"
        assert "public.things" in task.message
        world.copy_again("t")
        world.wish("t", True)
        world.await_same("things", timeout_s=60)
        world.await_state("t", "following")


@pytest.mark.crash
def test_workers_never_outlive_the_service(world: World[AnyDatabase]) -> None:
    """kill -9 of a whole service with a capture and an apply: both end, and the next service goes on."""
    script = (
        "import json, pathlib, sys, time; from tests.integration.world import World; from tests.databases import Database;"
        "from types import SimpleNamespace as N; a = json.loads(sys.stdin.readline());"
        "d = [Database(N(host=s['host'], port=s['port'], user=s['user'], password=s['password']), s['name']) for s in a['sides']];"
        "w = World(pathlib.Path(a['directory']), *d);"
        "r = w.running(); r.__enter__(); print('up', flush=True); time.sleep(600)"
    )
    sides = [
        {"host": d.cluster.host, "port": d.cluster.port, "user": d.cluster.user, "password": d.cluster.password, "name": d.name}
        for d in (world.source, world.target)
    ]
    world.store.wish("t", True)
    paths = os.pathsep.join(path for path in sys.path if path)
    service = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}
    )
    assert service.stdin is not None
    assert service.stdout is not None
    service.stdin.write(json.dumps({"directory": str(world.directory), "sides": sides}).encode() + b"\n")
    service.stdin.flush()
    world.await_same("things", timeout_s=60)
    workers = psutil.Process(service.pid).children(recursive=True)
    assert len(workers) == 2
    os.kill(service.pid, signal.SIGKILL)
    service.wait()
    service.stdin.close()
    service.stdout.close()
    wait_until(lambda: not any(w.is_running() and w.status() != psutil.STATUS_ZOMBIE for w in workers), what="the workers end")
    world.source.run("DELETE FROM things WHERE id > 500")
    with world.running():
        world.await_same("things", timeout_s=60)
    assert [run.outcome for run in world.store.runs("t", 5)] == ["stopped", "crashed"]
