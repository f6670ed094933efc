"""Foreign keys of every shape in force at a target whose role is no superuser: rings, trees, cascades, under load, kills and resets.

What is checked all the while, by a reader in snapshots of its own: money is only moved, so its sum never changes once the first copy is
to be seen, not in a replay either. That foreign keys hold is the target's own doing, and looked at in the end.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.clusters import Installation, PrivatePostgres
from tests.conftest import BOTH
from tests.databases import Database
from tests.exactness.exact_world import TASK, ExactWorld, moment

DEPTS, PEOPLE, TOTAL = 5, 40, 40 * 100
TABLES = """
CREATE TABLE dept (id int PRIMARY KEY, code text NOT NULL UNIQUE, head int NOT NULL);
CREATE TABLE person (id int PRIMARY KEY, dept int NOT NULL REFERENCES dept{later}, boss int REFERENCES person ON DELETE SET NULL,
    email text UNIQUE, balance int NOT NULL, doc text{extra});
ALTER TABLE dept ADD CONSTRAINT has_head FOREIGN KEY (head) REFERENCES person{later};
ALTER TABLE person ALTER doc SET STORAGE EXTERNAL;
CREATE TABLE badge (id int PRIMARY KEY, person int NOT NULL REFERENCES person ON DELETE CASCADE, note text);
CREATE TABLE node (id int PRIMARY KEY, parent int REFERENCES node ON DELETE CASCADE, label text);
"""
FILL = f"""
INSERT INTO dept SELECT i, 'c' || i, i FROM generate_series(1, {DEPTS}) i;
INSERT INTO person SELECT i, 1 + i % {DEPTS}, NULLIF(i / 2, 0), 'e' || i, 100, repeat(md5(i::text), 300)
    FROM generate_series(1, {PEOPLE}) i;
INSERT INTO badge SELECT i, 1 + i % {PEOPLE}, 'n' FROM generate_series(1, {PEOPLE}) i;
INSERT INTO node SELECT i, NULLIF(i / 2, 0), 'l' FROM generate_series(1, 60) i;
"""
ORPHANS = """
SELECT (SELECT count(*) FROM dept d WHERE NOT EXISTS (SELECT FROM person p WHERE p.id = d.head))
     + (SELECT count(*) FROM person p WHERE NOT EXISTS (SELECT FROM dept d WHERE d.id = p.dept)
                                         OR boss IS NOT NULL AND NOT EXISTS (SELECT FROM person b WHERE b.id = p.boss))
     + (SELECT count(*) FROM badge b WHERE NOT EXISTS (SELECT FROM person p WHERE p.id = b.person))
     + (SELECT count(*) FROM node n WHERE parent IS NOT NULL AND NOT EXISTS (SELECT FROM node p WHERE p.id = n.parent))
"""
HEADLESS = "id NOT IN (SELECT head FROM dept)"


class Load:
    """Random transactions at the source, all of them valid there; each keeps the sum of balances."""

    def __init__(self, database: Database, seed: int) -> None:
        self._random, self._connection = random.Random(seed), database.connect(autocommit=False)
        self._next = 1000

    def run(self, transactions: int) -> None:
        """So many transactions."""
        acts = [
            self.move,
            self.move,
            self.hire,
            self.fire,
            self.transfer,
            self.swap,
            self.pass_on,
            self.rename,
            self.grow,
            self.fell,
            self.found,
        ]
        for _ in range(transactions):
            for act in self._random.sample(acts, self._random.randint(1, 3)):
                act()
            self._connection.commit()

    def close(self) -> None:
        """End."""
        self._connection.close()

    def move(self) -> None:
        """Money from one to another."""
        one, other = self._people(2)
        amount = self._random.randint(1, 50)
        self._do(f"UPDATE person SET balance = balance - {amount} WHERE id = {one}")
        self._do(f"UPDATE person SET balance = balance + {amount} WHERE id = {other}")

    def hire(self) -> None:
        """A person with a boss and a badge."""
        boss, new = self._people(1)[0], self._new()
        self._do(f"INSERT INTO person SELECT {new}, dept, id, 'e{new}', 0, doc FROM person WHERE id = {boss}")
        self._do(f"INSERT INTO badge VALUES ({new}, {new}, 'new')")

    def fire(self) -> None:
        """Badges go along, others lose their boss; the money goes to somebody."""
        found = self._rows(f"SELECT id, balance FROM person WHERE {HEADLESS} ORDER BY random() LIMIT 1")
        if found:
            ((who, balance),) = found
            self._do(f"DELETE FROM person WHERE id = {who}")
            self._do(f"UPDATE person SET balance = balance + {balance} WHERE id = (SELECT min(id) FROM person)")

    def transfer(self) -> None:
        """A department is closed, another one founded: people and head change before, between and behind."""
        (old,) = self._rows("SELECT id, head, code FROM dept ORDER BY random() LIMIT 1")
        new = self._new()
        self._do(f"DELETE FROM dept WHERE id = {old[0]}")
        self._do(f"INSERT INTO dept VALUES ({new}, '{old[2]}', {old[1]})")
        self._do(f"UPDATE person SET dept = {new} WHERE dept = {old[0]}")

    def found(self) -> None:
        """A department and its head, who need one another."""
        new = self._new()
        self._do(f"INSERT INTO dept VALUES ({new}, 'c{new}', {new})")
        self._do(f"INSERT INTO person VALUES ({new}, {new}, NULL, 'e{new}', 0, 'short')")

    def swap(self) -> None:
        """Unique values change hands in a circle."""
        for table, column in (("person", "email"), ("dept", "code")):
            (one, a), (other, b) = self._rows(f"SELECT id, {column} FROM {table} ORDER BY random() LIMIT 2")
            self._do(f"UPDATE {table} SET {column} = 'between' WHERE id = {one}")
            self._do(f"UPDATE {table} SET {column} = '{a}' WHERE id = {other}")
            self._do(f"UPDATE {table} SET {column} = '{b}' WHERE id = {one}")

    def pass_on(self) -> None:
        """A unique value goes to another one."""
        (one, a), (other, _) = self._rows("SELECT id, email FROM person ORDER BY random() LIMIT 2")
        self._do(f"UPDATE person SET email = 'e{self._new()}' WHERE id = {one}")
        self._do(f"UPDATE person SET email = '{a}' WHERE id = {other}")

    def rename(self) -> None:
        """A key changes; large values are not sent."""
        free = "id NOT IN (SELECT person FROM badge) AND id NOT IN (SELECT boss FROM person WHERE boss IS NOT NULL)"
        self._do(f"UPDATE person SET id = {self._new()} WHERE id = (SELECT min(id) FROM person WHERE {HEADLESS} AND {free})")

    def grow(self) -> None:
        """Leaves of the tree."""
        parents = [row[0] for row in self._rows("SELECT id FROM node ORDER BY random() LIMIT 2")]
        for parent in [*parents, "NULL"]:
            self._do(f"INSERT INTO node VALUES ({self._new()}, {parent}, 'leaf')")

    def fell(self) -> None:
        """A branch with all that hangs on it; now and then the whole tree."""
        if self._random.random() < 0.1:
            self._do("TRUNCATE node")
        else:
            self._do("DELETE FROM node WHERE id = (SELECT id FROM node WHERE parent IS NOT NULL ORDER BY random() LIMIT 1)")

    def _people(self, count: int) -> list[object]:
        return [row[0] for row in self._rows(f"SELECT id FROM person ORDER BY random() LIMIT {count}")]

    def _new(self) -> int:
        self._next += 1
        return self._next

    def _do(self, statement: str) -> None:
        self._connection.execute(statement.encode())

    def _rows(self, query: str) -> list[tuple[object, ...]]:
        return self._connection.execute(query.encode()).fetchall()


@pytest.fixture
def world(
    tmp_path: Path, shared_cluster: Callable[[Installation, str], PrivatePostgres], make_database: Callable[[PrivatePostgres], Database]
) -> Iterator[ExactWorld]:
    """Source and target, the target's role being a plain one that owns nothing."""
    source = make_database(shared_cluster(BOTH[0], "first"))
    target = make_database(shared_cluster(BOTH[-1], "second" if len(BOTH) == 1 else "first"))
    source.run(TABLES.format(later=" DEFERRABLE INITIALLY DEFERRED", extra=""), FILL)
    target.run(TABLES.format(later="", extra=", mine int NOT NULL DEFAULT 7"))
    role = f"plain_{target.name}"
    target.run(f"CREATE ROLE {role} LOGIN PASSWORD 'pw'", f"GRANT CREATE, TEMPORARY ON DATABASE {target.name} TO {role}")
    made = ExactWorld(tmp_path, source, target)
    saved = made.store.data_source("target")
    assert saved is not None
    content = {**saved.content, "user_name": role}
    made.store.save_data_source(replace(saved, content=content, secrets={"password": "pw"}))
    made.prepare()
    target.run(f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {role}", f"GRANT USAGE ON SCHEMA public TO {role}")
    yield made
    made.store.close()
    target.run(f"DROP OWNED BY {role}", f"DROP ROLE {role}")


@contextmanager
def watched(database: Database) -> Iterator[set[object]]:
    """Sums of the balances that a reader of the target sees meanwhile."""
    seen: set[object] = set()
    stop = threading.Event()

    def watch() -> None:
        with database.connect() as connection:
            while not stop.wait(0.02):
                row = connection.execute("SELECT (SELECT sum(balance) FROM person), (SELECT count(*) FROM dept) > 0").fetchone()
                assert row is not None
                seen.add((None if row[0] is None else int(row[0]), row[1]))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join(10)


@pytest.mark.parametrize("seed", [1])
def test_foreign_keys_in_force_hold_and_readers_see_states_of_the_source_p2_p5(world: ExactWorld, seed: int) -> None:
    assert world.findings() == []
    load = Load(world.source, seed)
    with watched(world.target) as seen, world.following():
        assert world.differences() == {}
        start = 0
        for round_ in range(6):
            if round_ in {0, 4}:
                start = moment(world.source)
            load.run(15)
            if round_ == 1:
                world.kill("apply", TASK)
            elif round_ in {2, 5}:
                world.reset(TASK, start)
            elif round_ == 3:
                world.reset(TASK, None)
            world.settle()
            assert world.differences() == {}
        rows = world.target.rows("SELECT count(*) FROM person WHERE mine = 7")
        assert rows == world.source.rows("SELECT count(*) FROM person")
    load.close()
    assert world.target.rows(ORPHANS) == [(0,)]
    assert seen <= {(None, False), (TOTAL, True)}
    assert world.target.rows("SELECT relname FROM pg_class WHERE relname ~ '^(rows|gone)_[0-9]+$'") == []


def test_a_row_whose_parent_is_not_mapped_is_refused_by_name_p7(world: ExactWorld) -> None:
    world.target.run(
        "CREATE TABLE elsewhere (id int PRIMARY KEY)", "ALTER TABLE node ADD CONSTRAINT goes FOREIGN KEY (id) REFERENCES elsewhere"
    )
    world.target.run("INSERT INTO elsewhere SELECT generate_series(1, 60)")
    with world.following():
        world.source.run("INSERT INTO node VALUES (4711, NULL, 'secret')")
        world.await_state(TASK, "failed")
        task = world.task(TASK)
        assert task.error_kind == "row_refused"
        assert "constraint goes" in task.message
        assert "4711" not in task.message
        world.target.run("INSERT INTO elsewhere VALUES (4711)")
        world.wish(TASK, True)
        world.settle()
        assert world.differences() == {}
