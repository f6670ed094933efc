"""What a worker is given when it starts, as plain JSON: the supervisor writes it, the worker's composition root reads it.

A worker opens no metadata store, so everything is in it, credentials included: a payload is never logged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from headwater.domain.dirty import STOP, DirtyPolicy
from headwater.domain.mapping import Beside, ColumnPair, ColumnShape, TableMapping
from headwater.domain.tables import TableName
from headwater.ports.journal import Retention
from headwater.ports.store import DataSource

Payload = dict[str, Any]


@dataclass(frozen=True)
class Connection:
    """A data source as far as a worker needs it."""

    id: str
    type: str
    content: dict[str, Any] = field(repr=False)
    secrets: dict[str, str] = field(repr=False)

    @classmethod
    def of(cls, data_source: DataSource) -> Connection:
        """From the store's record."""
        return cls(data_source.id, data_source.type, data_source.content, data_source.secrets)


@dataclass(frozen=True)
class CaptureOrder:
    """One capture. `history` is the data source's: the consents to begin a new history that were given so far."""

    source: Connection
    journal_dir: str
    tables: tuple[TableName, ...]
    retention: Retention
    history: int = 0

    def payload(self) -> Payload:
        """As JSON."""
        return asdict(self)

    @classmethod
    def read(cls, payload: Payload) -> CaptureOrder:
        """From `payload`."""
        tables = tuple(TableName(**t) for t in payload["tables"])
        return cls(Connection(**payload["source"]), payload["journal_dir"], tables, Retention(**payload["retention"]), payload["history"])


@dataclass(frozen=True)
class ApplyOrder:
    """One apply, but for its epoch, which each launch takes anew."""

    task_id: str
    source: Connection
    target: Connection
    journal_dir: str
    mappings: tuple[TableMapping, ...]
    copy_streams: int = 2
    dirty: DirtyPolicy = STOP
    row_key: str = field(default="", repr=False)  # what set-aside rows are sealed with; see sealing.py

    def payload(self) -> Payload:
        """As JSON."""
        return {**asdict(self), "mappings": _told(self.mappings)}

    @classmethod
    def read(cls, payload: Payload) -> ApplyOrder:
        """From `payload`."""
        return cls(
            payload["task_id"],
            Connection(**payload["source"]),
            Connection(**payload["target"]),
            payload["journal_dir"],
            _mappings(payload["mappings"]),
            payload["copy_streams"],
            DirtyPolicy(**payload["dirty"]),
            payload["row_key"],
        )


@dataclass(frozen=True)
class VerifyLoad:
    """How much a verification may ask of the databases: rows per chunk, the pause between two chunks, the limit of one statement; how
    long rows that keep moving are looked at, and how many differing keys of a table are kept."""

    chunk_rows: int = 20_000
    pause_s: float = 0.02
    statement_timeout_s: float = 30.0
    settle_s: float = 60.0
    keys_max: int = 1000


@dataclass(frozen=True)
class VerifyOrder:
    """One verification of one task. `shared` are the mappings into whose target tables others write too."""

    task_id: str
    source: Connection
    target: Connection
    journal_dir: str
    mappings: tuple[TableMapping, ...]
    shared: frozenset[str] = frozenset()
    repair: bool = False
    load: VerifyLoad = field(default_factory=VerifyLoad)

    def payload(self) -> Payload:
        """As JSON."""
        return {**asdict(self), "mappings": _told(self.mappings), "shared": sorted(self.shared)}

    @classmethod
    def read(cls, payload: Payload) -> VerifyOrder:
        """From `payload`."""
        return cls(
            payload["task_id"],
            Connection(**payload["source"]),
            Connection(**payload["target"]),
            payload["journal_dir"],
            _mappings(payload["mappings"]),
            frozenset(payload["shared"]),
            payload["repair"],
            VerifyLoad(**payload["load"]),
        )


def _told(mappings: Sequence[TableMapping]) -> list[Payload]:
    return [{**asdict(m), "operations": sorted(m.operations)} for m in mappings]


def _mappings(items: Sequence[Payload]) -> tuple[TableMapping, ...]:
    return tuple(
        TableMapping(
            item["mapping_id"],
            TableName(**item["source"]),
            TableName(**item["target"]),
            tuple(_pair(pair) for pair in item["columns"]),
            frozenset(item["operations"]),
            tuple(Beside(other["mapping_id"], tuple(other["columns"])) for other in item["beside"]),
        )
        for item in items
    )


def _pair(item: Payload) -> ColumnPair:
    shape = item["shape"]
    return ColumnPair(**{**item, "shape": None if shape is None else ColumnShape(**{**shape, "names": tuple(shape["names"])})})
