"""The kinds of change as data, read from `kinds.sql`: tables, rows that are there before the copy, what is done while a task follows.

Each kind lives in a schema of its own name, which its scripts have as search path. Those of MySQL (`kinds_mysql.sql`) share one database;
all their tables, and everything of a kind that says `everywhere`, are in words that PostgreSQL understands too.

A `--:` line begins a section: `kind NAME [since N] [everywhere]`, then `tables` (made in both databases), `target` (what the target
has instead, where it is PostgreSQL), `rows` (at the source, before the copy) and any number of `change` (one script for one session) and
`call` (a function of this module, where one session is not enough).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.databases import AnyDatabase, Database, MysqlDatabase
from tests.exactness import awkward_names

SHARED = """
CREATE FUNCTION public.long() RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT repeat('0123456789', 400) $$;
CREATE TABLE public.wide (id int PRIMARY KEY, n int, a text, b text, c bytea);
ALTER TABLE public.wide ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL;
"""
"""What the scripts build upon: a value that is stored out of line, and a table (to be made LIKE) that keeps three such."""

Change = str | Callable[[Any], None]


@dataclass
class Kind:
    """See the module. `since` is the oldest PostgreSQL that knows its SQL."""

    name: str
    since: int = 12
    everywhere: bool = False
    tables: str = ""
    target: str = ""
    rows: str = ""
    changes: list[Change] = field(default_factory=list)

    def run(self, database: AnyDatabase, *scripts: Change) -> None:
        """Run scripts, each in a session of its own."""
        for script in scripts:
            if callable(script):
                script(database)
            elif self.everywhere or isinstance(database, MysqlDatabase):
                database.run(*filter(None, (statement.strip() for statement in script.split(";\n"))))
            elif script:
                with database.session(autocommit=True) as session:
                    session.execute(f"SET search_path = {self.name}, public")
                    session.execute(script)


def read(file: str) -> list[Kind]:
    """The kinds of a file."""
    kinds: list[Kind] = []
    written = Path(__file__).with_name(file).read_text()
    for section in re.split(r"^--: ", written, flags=re.MULTILINE)[1:]:
        head, _, script = section.partition("\n")
        what, *words = head.split()
        if what == "kind":
            since = int(words[2]) if words[1:2] == ["since"] else 12
            kinds.append(Kind(words[0], since, words[1:] == ["everywhere"]))
        elif what in ("change", "call"):
            kinds[-1].changes.append(script if what == "change" else CALLS[words[0]])
        else:
            assert what in ("tables", "target", "rows"), head
            setattr(kinds[-1], what, script)
    return kinds


def two_sessions_lock_a_row(source: Database) -> None:
    """Two holders of a share lock make a multixact of the row's lock, which then is updated and deleted."""
    with source.connect(autocommit=False) as one, source.connect(autocommit=False) as other:
        for session in (one, other):
            session.execute("SELECT * FROM locks.held WHERE id <= 3 FOR KEY SHARE")
        one.execute("UPDATE locks.held SET v = 'by one' WHERE id = 1")
        other.execute("UPDATE locks.held SET v = 'by other' WHERE id = 2")
        one.commit()
        other.execute("SELECT * FROM locks.held WHERE id = 1 FOR NO KEY UPDATE")
        other.commit()
    source.run("DELETE FROM locks.held WHERE id = 3", "UPDATE locks.held SET id = 30 WHERE id = 1")


def sessions_interleave(source: Database) -> None:
    """Open at the same time, ended in another order than begun."""
    with source.connect(autocommit=False) as first, source.connect(autocommit=False) as second:
        first.execute("INSERT INTO interleaved.t VALUES (1, 'first')")
        second.execute("INSERT INTO interleaved.t VALUES (2, 'second')")
        second.execute("INSERT INTO interleaved.t VALUES (3, 'second')")
        second.commit()
        first.execute("UPDATE interleaved.t SET v = 'first again' WHERE id = 3")
        first.execute("DELETE FROM interleaved.t WHERE id = 2")
        first.commit()


def copy_from(source: Database) -> None:
    """COPY, once kept and once rolled back."""
    with source.connect(autocommit=False) as session:
        with session.cursor().copy("COPY statements.t (id, v) FROM STDIN") as rows:
            for i in range(5000, 5500):
                rows.write_row((i, f"tab\t newline\n backslash\\ {i}"))
        session.commit()
        with session.cursor().copy("COPY statements.t (id, v) FROM STDIN") as rows:
            rows.write_row((6000, "rolled back"))
        session.rollback()


def mysql_sessions_interleave(source: AnyDatabase) -> None:
    """Open at the same time, ended in another order than begun."""
    with source.session() as first, source.session() as second:
        first.execute("INSERT INTO interleaved VALUES (1, 'first')")
        second.execute("INSERT INTO interleaved VALUES (2, 'second'), (3, 'second')")
        second.commit()
        first.execute("UPDATE interleaved SET v = 'first again' WHERE id = 3")
        first.execute("DELETE FROM interleaved WHERE id = 2")
        first.commit()


def xa_commits_in_another_order(source: AnyDatabase) -> None:
    """Prepared by a session that has gone, and committed by another one after what came later."""
    with source.session(autocommit=True) as first:
        for statement in ("XA START 'four'", "INSERT INTO xa_transactions VALUES (5, 'four')", "XA END 'four'", "XA PREPARE 'four'"):
            first.execute(statement)
    source.run(
        "INSERT INTO xa_transactions VALUES (6, 'beside')", "XA COMMIT 'four'", "UPDATE xa_transactions SET v = 'after' WHERE id = 5"
    )


def a_thousand_tiny_ones(source: AnyDatabase) -> None:
    """Transactions of one row."""
    source.run(*(f"UPDATE tiny_ones SET n = n + 1 + {i % 2} WHERE id = 1" for i in range(1000)))


CALLS: dict[str, Callable[[Any], None]] = {
    function.__name__: function
    for function in (
        *(two_sessions_lock_a_row, sessions_interleave, copy_from),
        *(mysql_sessions_interleave, xa_commits_in_another_order, a_thousand_tiny_ones),
    )
}
NAMES = Kind("names", 12, False, awkward_names.tables(), "", awkward_names.rows(), list(awkward_names.changes()))
KINDS = [*read("kinds.sql"), NAMES]
MYSQL_KINDS = read("kinds_mysql.sql")
