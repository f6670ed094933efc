"""The move from MariaDB to PostgreSQL is made as its page says: the page's statements, its program and its commands, on real servers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.databases import AnyDatabase, wait_until
from tests.pairs import Sides, on
from tests.programs import Service, initialised

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "move-from-mariadb.md"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
GRANTED = "REPLICATION SLAVE, BINLOG MONITOR, RELOAD"


@on("mariadb-newest")
def test_the_page_moves_a_database(tmp_path: Path, sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = sides
    source.run(
        "CREATE TABLE orders (id bigint PRIMARY KEY AUTO_INCREMENT, note varchar(40) NOT NULL, placed datetime(3))",
        f"INSERT INTO orders (note, placed) SELECT concat('n', i), '2026-01-01 10:00:00.5' FROM {source.series(1, 500)}",
    )
    source_sql, target_sql, program, *steps = (code for kind, code in BLOCK.findall(with_our_places(source, target)) if kind)
    made = initialised(tmp_path)
    with Service(tmp_path, made) as service:
        for name in ("access_key", "secret_key", "project_id", "instance_id", "app_id"):
            monkeypatch.setenv(f"HEADWATER_{name.upper()}", made[name])
        monkeypatch.setenv("HEADWATER_ENDPOINT", service.address)
        monkeypatch.setenv("PYTHONWARNINGS", "ignore")
        try:
            source.run(*statements(source_sql))
            target.run(*statements(target_sql))
            done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
            assert (done.returncode, done.stdout) == (0, ""), done.stderr
            play(tmp_path, steps, source, target)
        finally:
            target.run("DROP OWNED BY headwater CASCADE", "DROP ROLE headwater")
            source.run("DROP USER headwater@'%'")


def with_our_places(source: AnyDatabase, target: AnyDatabase) -> str:
    """The page with the names and ports of the two databases."""
    text = PAGE.read_text("utf-8")
    for theirs, ours in {
        '"127.0.0.1", "3306", "shop"': f'"127.0.0.1", "{source.cluster.port}", "{source.name}"',
        '"127.0.0.1", "5432", "warehouse"': f'"127.0.0.1", "{target.cluster.port}", "{target.name}"',
        "ON shop.*": f"ON {source.name}.*",
        "DATABASE warehouse": f"DATABASE {target.name}",
    }.items():
        assert theirs in text
        text = text.replace(theirs, ours)
    return text


def statements(block: str) -> list[str]:
    return [found for one in re.sub(r"--.*", "", block).split(";") if (found := one.strip())]


def play(directory: Path, steps: list[str], source: AnyDatabase, target: AnyDatabase) -> None:
    """The commands of the page in order, each with what is to be seen behind it."""
    make, begin, prove, rehearse, switch = steps
    told = sh(directory, make)
    assert "CREATE TABLE" in told
    assert "1 of 1 tables were created" in told
    sh(directory, begin)
    wait_until(lambda: target.rows("SELECT count(*) FROM orders") == [(500,)], 90, "the orders to arrive")
    assert "equal" in sh(directory, prove)
    note, *back = rehearse.splitlines()
    sh(directory, note)
    source.run("UPDATE orders SET note = 'new' WHERE id <= 100")
    wait_until(lambda: target.rows("SELECT count(*) FROM orders WHERE note = 'new'") == [(100,)], 30, "the changes")
    target.run("UPDATE orders SET note = 'spoilt' WHERE id <= 100")
    assert "equal" in sh(directory, "\n".join(back))
    assert target.rows("SELECT count(*) FROM orders WHERE note = 'new'") == [(100,)]
    assert "equal" in sh(directory, switch)


def sh(directory: Path, commands: str) -> str:
    """What the commands printed; `headwater` is ours."""
    ours = f"headwater() {{ '{sys.executable}' -m headwater \"$@\"; }}\n"
    done = subprocess.run(["bash", "-ec", ours + commands], cwd=directory, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
