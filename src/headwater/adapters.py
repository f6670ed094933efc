"""The registry of adapters: which code reads and writes which type of data source, and where journals lie.

Adding a kind of database is its module and one line in `SOURCES`, `TARGETS` or both. Adapters are imported when they are first
needed, so that a worker loads one driver and not all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from headwater.domain.errors import HeadwaterError, JournalError
from headwater.engine.orders import Connection
from headwater.ports.journal import JournalReader, JournalWriter, OpenJournal
from headwater.ports.source import Source
from headwater.ports.store import DataSource
from headwater.ports.target import Target

Content = dict[str, Any]
Secrets = dict[str, str]

_MYSQL_SOURCE = "headwater.sources.mysql:open_source"
SOURCES = {
    "POSTGRESQL": "headwater.sources.postgres:open_source",
    "MYSQL": _MYSQL_SOURCE,
    "MARIADB": _MYSQL_SOURCE,
    "TAURUS": _MYSQL_SOURCE,
}
"""Type of data source -> `module:factory(id, content, secrets)` of its `Source`."""

_MYSQL_TARGET = "headwater.targets.mysql:open_target"
TARGETS = {
    "POSTGRESQL": "headwater.targets.postgres:open_target",
    "MYSQL": _MYSQL_TARGET,
    "MARIADB": _MYSQL_TARGET,
    "TAURUS": _MYSQL_TARGET,
}
"""Type of data source -> `module:factory(id, content, secrets)` of its `Target`."""

KINDS = tuple(sorted(SOURCES.keys() | TARGETS.keys()))
"""All types of data sources that something reads or writes."""


def source(kind: str, source_id: str, content: Content, secrets: Secrets) -> Source:
    """The source adapter for a connection; connects to nothing.

    Raises:
        HeadwaterError: kind `source_refused` where nothing reads this type.
    """
    made: Source = _factory(SOURCES, kind, "source")(source_id, content, secrets)
    return made


def target(kind: str, target_id: str, content: Content, secrets: Secrets) -> Target:
    """The target adapter for a connection; connects to nothing.

    Raises:
        HeadwaterError: kind `target_refused` where nothing writes this type.
    """
    made: Target = _factory(TARGETS, kind, "target")(target_id, content, secrets)
    return made


def source_of(data_source: DataSource) -> Source:
    """The source adapter for a saved data source."""
    return source(data_source.type, data_source.id, data_source.content, data_source.secrets)


def target_of(data_source: DataSource) -> Target:
    """The target adapter for a saved data source."""
    return target(data_source.type, data_source.id, data_source.content, data_source.secrets)


def default_schema(data_source: DataSource) -> str:
    """Where a bare table name lies: what PostgreSQL calls a schema is a database elsewhere, and a data source names one."""
    return "public" if data_source.type == "POSTGRESQL" else str(data_source.content["database_name"])


def knock(side: str, connection: Connection) -> None:
    """Connect to a "source" or a "target" and leave. Raises HeadwaterError where it does not answer."""
    opened = (target if side == "target" else source)(connection.type, connection.id, connection.content, connection.secrets)
    opened.test()


def journal_directory(data_dir: Path, source_id: str) -> Path:
    """Where the journal of a source lies."""
    return data_dir / "journals" / source_id


def journal_opener(data_dir: Path) -> OpenJournal:
    """Opens journals for reading by the id of their source; None where there is none yet."""

    def open_journal(source_id: str) -> JournalReader | None:
        try:
            return journal_reader(journal_directory(data_dir, source_id))
        except JournalError as error:
            if error.kind == "journal_missing":
                return None
            raise

    return open_journal


def journal_reader(directory: Path) -> JournalReader:
    """Open a journal for reading. Raises JournalError, kind `journal_missing` where there is none yet."""
    from headwater.journal import open_reader

    return open_reader(directory)


def journal_writer(directory: Path, may_begin_anew: bool) -> JournalWriter:
    """Open a journal for writing; make it where there is none.

    A damaged one is set aside under another name and a new one made, where a person has agreed to begin a new history.
    """
    from headwater.journal import open_writer

    try:
        return open_writer(directory)
    except JournalError as error:
        if error.kind != "journal_damaged" or not may_begin_anew:
            raise
    aside = directory.with_name(f"{directory.name}.damaged")
    number = 1
    while aside.exists():
        number, aside = number + 1, directory.with_name(f"{directory.name}.damaged-{number}")
    directory.rename(aside)
    return open_writer(directory)


def _factory(registry: dict[str, str], kind: str, side: str) -> Callable[[str, Content, Secrets], Any]:
    if kind not in registry:
        known = ", ".join(sorted(registry))
        raise HeadwaterError(f"Data sources of type {kind} can't be the {side} of a task; these can: {known}.", kind=f"{side}_refused")
    module, _, name = registry[kind].partition(":")
    factory: Callable[[str, Content, Secrets], Any] = getattr(import_module(module), name)
    return factory
