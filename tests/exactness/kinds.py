"""The kinds of change as data, read from `kinds.sql`: tables, rows that are there before the copy, what is done while a task follows.

Each kind lives in a schema of its own name, which its scripts have as search path. A `--:` line begins a section: `kind NAME [since N]`,
then `tables` (made in both databases), `target` (what the target has instead), `rows` (at the source, before the copy) and
any number of `change` (one script for one session) and `call` (a function of this module, where one session is not enough).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.databases import Database
from tests.exactness import awkward_names

SHARED = """
CREATE FUNCTION public.long() RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT repeat('0123456789', 400) $$;
CREATE TABLE public.wide (id int PRIMARY KEY, n int, a text, b text, c bytea);
ALTER TABLE public.wide ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE EXTERNAL, ALTER c SET STORAGE EXTERNAL;
"""
"""What the scripts build upon: a value that is stored out of line, and a table (to be made LIKE) that keeps three such."""

Change = str | Callable[[Database], None]


@dataclass
class Kind:
    """See the module. `since` is the oldest PostgreSQL that knows its SQL."""

    name: str
    since: int = 12
    tables: str = ""
    target: str = ""
    rows: str = ""
    changes: list[Change] = field(default_factory=list)

    def run(self, database: Database, *scripts: Change) -> None:
        """Run scripts, each in a session of its own."""
        for script in scripts:
            if callable(script):
                script(database)
            elif script:
                with database.connect() as session:
                    session.execute(f"SET search_path = {self.name}, public".encode())
                    session.execute(script.encode())


def read() -> list[Kind]:
    """All kinds."""
    kinds: list[Kind] = []
    written = Path(__file__).with_name("kinds.sql").read_text()
    for section in re.split(r"^--: ", written, flags=re.MULTILINE)[1:]:
        head, _, script = section.partition("\n")
        what, *words = head.split()
        if what == "kind":
            kinds.append(Kind(words[0], int(words[2]) if words[1:] else 12))
        elif what in ("change", "call"):
            kinds[-1].changes.append(script if what == "change" else CALLS[words[0]])
        else:
            assert what in ("tables", "target", "rows"), head
            setattr(kinds[-1], what, script)
    names = Kind("names", 12, awkward_names.tables(), "", awkward_names.rows(), list(awkward_names.changes()))
    return [*kinds, names]


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


CALLS = {function.__name__: function for function in (two_sessions_lock_a_row, sessions_interleave, copy_from)}
KINDS = read()
