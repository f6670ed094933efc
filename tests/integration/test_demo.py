"""The demo: it ends with equal tables, it would say so if they were not, and nothing of it stays."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.clusters import PrivatePostgres
from headwater.demo import life, run
from headwater.demo.compare import compare
from headwater.demo.life import Life
from headwater.demo.screen import sparks
from headwater.demo.sides import MysqlSide, PostgresSide
from tests.databases import Database, MysqlDatabase, wait_until
from tests.programs import headwater

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


@pytest.fixture
def open_directory(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A temporary directory that the servers' user can reach; everything temporary goes there."""
    directory = Path(tempfile.mkdtemp(prefix="headwater-test-"))
    directory.chmod(0o755)
    monkeypatch.setenv("TMPDIR", str(directory))
    monkeypatch.setattr(tempfile, "tempdir", None)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.mark.parametrize("arguments", [[], ["--target", "mariadb"]], ids=["PostgreSQL to PostgreSQL", "PostgreSQL to MariaDB"])
def test_it_ends_by_itself_with_equal_tables_and_leaves_nothing(open_directory: Path, arguments: list[str]) -> None:
    played = headwater("demo", "--once", *arguments, timeout_s=380)
    assert played.returncode == 0, played.stdout
    assert "Every row of every table is equal." in played.stdout
    assert _left(open_directory) == []


def test_what_the_reset_can_not_repair_makes_it_fail(
    open_directory: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows that the source has not touched since the moment are not part of a timed reset: the comparison must find them."""
    monkeypatch.setitem(life.ACCIDENT, "customers", "UPDATE customers SET city = 'TODO' WHERE id <= 10 OR changed_at >= %s")
    assert run(once=True) == 1
    told = capsys.readouterr().out
    assert "different" in told
    assert told.count("equal ") >= 3, "the other tables"
    assert _left(open_directory) == []


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["asked", "killed"])
def test_everything_goes_with_it(open_directory: Path, ending: signal.Signals) -> None:
    with (open_directory / "output").open("wb") as output:
        demo = subprocess.Popen([sys.executable, "-m", "headwater", "demo"], stdout=output, stderr=output)
    said = open_directory / "output"
    try:
        wait_until(lambda: "A combined task" in said.read_text() or demo.poll() is not None, 120, "the service to run")
        assert demo.poll() is None, said.read_text()
    finally:
        demo.send_signal(ending)
        demo.wait(60)
    wait_until(lambda: _left(open_directory) == ["output"], 60, "the files to go")
    wait_until(lambda: not _using(open_directory), 60, "the processes to end")


def test_one_changed_value_is_a_difference(newest_cluster: PrivatePostgres, make_database: Callable[[PrivatePostgres], Database]) -> None:
    source, target = make_database(newest_cluster), make_database(newest_cluster)
    for database in (source, target):
        database.run("CREATE TABLE t (id int PRIMARY KEY, at timestamptz, n numeric)")
    here, there = PostgresSide(newest_cluster, source.name), PostgresSide(newest_cluster, target.name)
    source.run("INSERT INTO t SELECT i, to_timestamp(i), i FROM generate_series(1, 100) AS i")
    target.run("INSERT INTO t SELECT i, to_timestamp(i), i FROM generate_series(100, 1, -1) AS i")
    target.run(f"ALTER DATABASE {target.name} SET timezone = 'Asia/Kathmandu'")
    (one,) = compare(here, there, ["t"])
    assert one.equal, "neither order nor time zone are differences"
    assert one.source.rows == 100
    target.run("UPDATE t SET n = 7.0 WHERE id = 7")
    (one,) = compare(here, there, ["t"])
    assert not one.equal, "7.0 is not 7: numeric keeps its scale"


def test_the_shop_may_open_again(newest_database: Database, mariadb_database: MysqlDatabase) -> None:
    sides = PostgresSide(newest_database.cluster, newest_database.name), MysqlSide(mariadb_database.cluster, mariadb_database.name)
    for one in sides:
        one.make()
        one.stock()
    for table in ("customers", "products", "orders", "order_items"):
        assert sides[0].count(table) == sides[1].count(table)
    for one in (*sides, *sides):
        _one_day(Life(one, 1000.0))


def _one_day(life: Life) -> None:
    life.start()
    wait_until(lambda: life.transactions > 30 or life.failure, what="life in the shop")
    life.stop()
    assert life.failure is None


def test_sparks_show_the_highest_as_full() -> None:
    assert sparks([0, 5, 10]) == "▁▄█"


def _left(directory: Path) -> list[str]:
    """Names of what is there, but for the copy of the server's binaries that is kept for the next time."""
    return sorted(path.name for path in directory.iterdir() if "-uid" not in path.name)


def _using(directory: Path) -> list[str]:
    """Command lines that name the directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(directory) in line:
            found.append(line)
    return found
