"""`PostgresSource`: the port `Source` for PostgreSQL 12 and later, each method one session and one module's work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg

from headwater.dialects.postgres_compare import PostgresComparison
from headwater.domain.outline import Outline
from headwater.domain.tables import TableName, TableSchema
from headwater.ports.source import NO_TRAIL, Finding, Trail, Watched
from headwater.sources.postgres import catalogue, moment, outline, outside, positions, publication, readiness
from headwater.sources.postgres.capture import PostgresLog, open_log
from headwater.sources.postgres.config import PostgresConfig
from headwater.sources.postgres.connect import connect, source_error, translated
from headwater.sources.postgres.snapshot import PostgresSnapshot, files_of

SETTLE_POLL_S = 0.05
NEXT_NUMBER = "SELECT txid_current()"
OLDEST_OPEN = "SELECT txid_snapshot_xmin(txid_current_snapshot())"


class PostgresSource:
    """See `Source`."""

    def __init__(self, config: PostgresConfig) -> None:
        self.config = config

    def test(self) -> None:
        """See `Source.test`."""
        connect(self.config).close()

    def tables(self) -> list[TableName]:
        """See `Source.tables`."""
        with self._session("Listing the tables") as session:
            return catalogue.tables(session)

    def describe(self, tables: Sequence[TableName]) -> dict[TableName, TableSchema]:
        """See `Source.describe`."""
        with self._session("Describing tables") as session:
            return catalogue.describe(session, tables)

    def outlines(self, tables: Sequence[TableName]) -> dict[TableName, Outline]:
        """See `Source.outlines`."""
        with self._session("Describing tables") as session:
            return outline.outlines(session, tables)

    def check(self, tables: Sequence[TableName]) -> list[Finding]:
        """See `Source.check`."""
        with self._session("Checking the tables") as session:
            return readiness.findings(session, self.config, tables)

    def publish(self, tables: Sequence[TableName]) -> None:
        """See `Source.publish`."""
        with self._session("Making the publication") as session:
            publication.publish(session, self.config, tables)

    def published(self, tables: Sequence[TableName]) -> bool:
        """See `Source.published`."""
        with self._session("Looking at the publication") as session:
            found = publication.find(session, self.config.publication)
            return found is not None and set(tables) <= found.tables and publication.has_slot(session, self.config.slot)

    def watch(self, tables: Sequence[TableName], before: Mapping[TableName, str]) -> Watched:
        """See `Source.watch`."""
        with self._session("Looking for changes outside of the log") as session:
            return outside.watch(session, self.config, tables, before)

    def settle(self, timeout_s: float) -> bool:
        """See `Source.settle`.

        A transaction that wrote to a table before the publication held it is not in our log, so the snapshot has to see it ended. Those
        are the ones with a lower number than one drawn now. (The upper bound of a snapshot would not do: it is the number after the last
        *ended* transaction, so the youngest open ones lie beyond it.)
        """
        with self._session("Waiting for open transactions") as session:
            upto = _number(session, NEXT_NUMBER)
            deadline = time.monotonic() + timeout_s
            while _number(session, OLDEST_OPEN) < upto:
                if time.monotonic() >= deadline:
                    return False
                time.sleep(SETTLE_POLL_S)
            return True

    def open_log(self, tables: Sequence[TableName], after: str | None, new_history: bool, trail: Trail = NO_TRAIL) -> PostgresLog:
        """See `Source.open_log`."""
        return open_log(self.config, tables, after, new_history, trail)

    def reached(self, place: str, wanted: str) -> bool:
        """See `Source.reached`."""
        return positions.parse(place) >= positions.parse(wanted)

    def snapshot(self) -> PostgresSnapshot:
        """See `Source.snapshot`."""
        return PostgresSnapshot(self.config)

    def exact_snapshot(self, tables: Sequence[TableName], wait: Callable[[], bool]) -> PostgresSnapshot | None:
        """See `Source.exact_snapshot`."""
        with self._session("Looking at tables that are to be copied") as session:
            files = {table: files_of(session, table) for table in tables}
        with moment.held(self.config, files, wait) as held:
            return None if held is None else PostgresSnapshot(self.config, held)

    def release(self) -> None:
        """See `Source.release`."""
        with self._session("Dropping slot and publication") as session:
            publication.release(session, self.config)

    def compare(self, timeout_s: float) -> PostgresComparison:
        """See `Source.compare`."""
        return PostgresComparison(
            connect(self.config), timeout_s, lambda error, doing: source_error(f"{doing.capitalize()} in {self.config.place}", error)
        )

    @contextmanager
    def _session(self, doing: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
        with connect(self.config) as session, translated(f"{doing} of {self.config.place}"):
            yield session


def _number(session: psycopg.Connection[tuple[Any, ...]], query: str) -> int:
    row = session.execute(query).fetchone()
    assert row is not None
    return int(row[0])


def open_source(source_id: str, content: dict[str, Any], secrets: dict[str, str]) -> PostgresSource:
    """The source of a saved data source: `content` and `secrets` with the API's field names. Connects to nothing."""
    return PostgresSource(
        PostgresConfig(
            source_id,
            host=str(content["host"]),
            port=int(content.get("port") or 5432),
            database=str(content["database_name"]),
            user=str(content["user_name"]),
            password=secrets.get("password", ""),
            sslmode="require" if content.get("ssl_enable") else "prefer",
        )
    )
