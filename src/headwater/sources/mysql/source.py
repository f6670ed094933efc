"""`MysqlSource`: the port `Source` for MariaDB and MySQL, each method one session and one module's work.

Nothing is made at the server: it keeps its log for as long as it is told to, whoever reads it. Where following begins, and from when on a
table is followed, is the engine's to know (decision 0023).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pymysql.err import Error

from headwater.dialects.mysql_compare import MysqlComparison
from headwater.domain.errors import SourceError
from headwater.domain.outline import Outline
from headwater.domain.tables import TableName, TableSchema
from headwater.ports.source import NO_TRAIL, Finding, Log, Trail, Watched
from headwater.sources.mysql import catalogue, lineage, moment, outline, positions, readiness
from headwater.sources.mysql.capture import open_log
from headwater.sources.mysql.config import MysqlConfig
from headwater.sources.mysql.connect import connect, rows, session, source_error
from headwater.sources.mysql.snapshot import MysqlSnapshot

SETTLE_POLL_S = 0.15
"""InnoDB makes its list of transactions anew only where nobody has looked at it for a tenth of a second."""

WAIT_ONCE_S = 0.25
OPEN = """
SELECT trx_mysql_thread_id AS thread, trx_started AS started FROM information_schema.INNODB_TRX WHERE trx_mysql_thread_id <> CONNECTION_ID()
"""
LOG_IS_ON = "SELECT @@GLOBAL.log_bin AS log_bin"


class MysqlSource:
    """See `Source`."""

    def __init__(self, config: MysqlConfig) -> None:
        self.config = config

    def test(self) -> None:
        """See `Source.test`."""
        connect(self.config).close()

    def tables(self) -> list[TableName]:
        """See `Source.tables`: those of the data source's database. Tables of others can be mapped by their whole name."""
        with session(self.config, "Listing the tables") as asking:
            return catalogue.tables(asking, self.config.database)

    def describe(self, tables: Sequence[TableName]) -> dict[TableName, TableSchema]:
        """See `Source.describe`."""
        with session(self.config, "Describing tables") as asking:
            return catalogue.describe(asking, tables)

    def outlines(self, tables: Sequence[TableName]) -> dict[TableName, Outline]:
        """See `Source.outlines`."""
        with session(self.config, "Describing tables") as asking:
            return outline.outlines(asking, catalogue.describe(asking, tables))

    def check(self, tables: Sequence[TableName]) -> list[Finding]:
        """See `Source.check`."""
        with session(self.config, "Checking the tables") as asking:
            return readiness.findings(asking, self.config, tables)

    def publish(self, tables: Sequence[TableName]) -> None:
        """See `Source.publish`: there is nothing to make."""

    def published(self, tables: Sequence[TableName]) -> bool:
        """See `Source.published`: the log holds every table that is there."""
        with session(self.config, "Looking for tables") as asking:
            log_is_on = bool(rows(asking, LOG_IS_ON)[0]["log_bin"])
            return log_is_on and set(tables) <= catalogue.kinds(asking, tables).keys()

    def watch(self, tables: Sequence[TableName], before: Mapping[TableName, str]) -> Watched:  # noqa: ARG002
        """See `Source.watch`: whatever changes a table stands in the log, statements too (`ddl.py`)."""
        return Watched(dict.fromkeys(tables, ""), {})

    def settle(self, timeout_s: float) -> bool:
        """See `Source.settle`."""
        with session(self.config, "Waiting for open transactions") as asking:

            def is_open() -> set[tuple[Any, ...]]:
                return {(found["thread"], found["started"]) for found in rows(asking, OPEN)}

            deadline = time.monotonic() + timeout_s
            time.sleep(SETTLE_POLL_S)
            waited = is_open()
            while waited:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(SETTLE_POLL_S)
                waited &= is_open()
            return True

    def open_log(self, tables: Sequence[TableName], after: str | None, new_history: bool, trail: Trail = NO_TRAIL) -> Log:
        """See `Source.open_log`."""
        return open_log(self.config, tables, after, new_history, trail)

    def reached(self, place: str, wanted: str) -> bool:
        """See `Source.reached`."""
        return positions.reached(positions.parse(place), positions.parse(wanted))

    def snapshot(self) -> MysqlSnapshot:
        """See `Source.snapshot`."""
        taken = moment.take(self.config, lambda: True)
        assert taken is not None
        return MysqlSnapshot(self.config, taken, inexact=True)

    def exact_snapshot(self, tables: Sequence[TableName], wait: Callable[[], bool]) -> MysqlSnapshot | None:
        """See `Source.exact_snapshot`. Where the place can't be exact the snapshot says so, and every table has a key.

        Raises:
            SourceError: `source_refused` where it can't be exact, and a table without a key needs it to be.
        """
        with session(self.config, "Looking at tables that are to be copied") as asking:
            found = catalogue.look(asking, tables)
        loose = sorted(name for name, table in found.items() if not table.transactional)
        keyless = next((name for name, table in found.items() if not table.schema.key), None)
        taken = None if loose else moment.take(self.config, wait, insist=keyless is not None)
        if taken is not None and taken.exact:
            return MysqlSnapshot(self.config, taken)
        if taken is not None:
            moment.let_go(taken.sessions)
        elif not loose:
            return None
        if keyless is not None:
            raise _needs_exact(keyless, loose)
        while not self.settle(WAIT_ONCE_S):  # what is in the journal by now has to be seen, and may not be visible yet
            if not wait():
                return None
        taken = moment.take(self.config, wait)
        return None if taken is None else MysqlSnapshot(self.config, taken, inexact=True)

    def release(self) -> None:
        """See `Source.release`: nothing was made."""

    def compare(self, timeout_s: float) -> MysqlComparison:
        """See `Source.compare`."""

        def fail(error: Error, doing: str) -> SourceError:
            return source_error(f"{doing.capitalize()} in {self.config.place}", error)

        return MysqlComparison(connect(self.config), timeout_s, fail, lambda asking: str(lineage.somewhere_at_end(asking)))


def _needs_exact(table: TableName, loose: Sequence[TableName]) -> SourceError:
    why = f"{loose[0]} has no transactions" if loose else "its user may not hold commits back for that"
    repair = f"ALTER TABLE {loose[0]} ENGINE = InnoDB;" if loose else "GRANT RELOAD ON *.* TO ...;"
    what = f"{table} has no key, so it must be copied at an exact moment of the source, but {why}."
    return SourceError(f"{what} Run: {repair}", kind="source_refused")


def open_source(source_id: str, content: dict[str, Any], secrets: dict[str, str]) -> MysqlSource:
    """The source of a saved data source: `content` and `secrets` with the API's field names. Connects to nothing."""
    return MysqlSource(
        MysqlConfig(
            source_id,
            host=str(content["host"]),
            port=int(content.get("port") or 3306),
            database=str(content["database_name"]),
            user=str(content["user_name"]),
            password=secrets.get("password", ""),
            tls=bool(content.get("ssl_enable")),
            server_id=int(content["server_id"]) if content.get("server_id") else None,
        )
    )
