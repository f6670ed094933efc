"""Comparing a table here with one there, in the databases: what a verification asks of both sides.

A *row hash* is the first 60 bits of the MD5 or SHA-256 of the row's text, as a whole number. The row's text is the same on every kind of
database: for each column, in order, the number of characters of its value's text, a colon and that text, or `-` for NULL, with commas
between, in UTF-8. A *digest* is the number of rows and the sum of their hashes: it does not depend on their order, and counts duplicates.

The text of a value is that of the *target's* type: `domain/comparing.py` says in which `Form` each side gives it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from headwater.domain.comparing import Form
from headwater.domain.tables import TableName

Hash = Literal["md5", "sha256"]

Key = tuple[str, ...]
"""A key's values in the text form of the database that gave it."""


@dataclass(frozen=True)
class Part:
    """What one side gives for a comparison: columns with their forms, in the order that both sides share, and the key columns' names,
    which may be none. `hash` is that of the rows' texts, and of `digest`; one that both sides have."""

    table: TableName
    columns: tuple[tuple[str, Form], ...]
    key: tuple[str, ...]
    hash: Hash = "md5"


@dataclass(frozen=True)
class Span:
    """Rows with `after < key <= upto` in the database's own order of keys; None is open. Where two databases order keys differently,
    spans that follow one another still cover every row at least once."""

    after: Key | None = None
    upto: Key | None = None


@dataclass(frozen=True)
class Digest:
    """Rows and the sum of their hashes."""

    rows: int = 0
    total: int = 0


class Comparison(Protocol):
    """One session for comparing, with settings of its own. One thread at a time; each method is one short statement without a lock that
    anybody waits for, ended by the database after the time limit.

    Raises SourceError or TargetError: `compare_timeout` where a statement took longer than the limit, `compare_impossible` where the
    database can't make the text that was asked for (a value that does not fit the other side's type), others as everywhere.
    """

    @property
    def hashes(self) -> tuple[Hash, ...]:
        """The hashes that the database makes, the quickest first. All make `sha256`."""

    def types(self, table: TableName, columns: Sequence[str]) -> dict[str, str]:
        """The types by which the values of these columns behave, as `Column.type` spells them: a domain's base type, `text` for an
        enum. Missing columns, and all of a missing table, are missing in the answer."""

    def chunked(self, part: Part) -> bool:
        """True where the part's rows can be cut by key and found by key; False without a key, or with one that compares by operators
        of an extension. Then only `digest` of an open span may be asked for."""

    def rows_estimate(self, table: TableName) -> int:
        """About how many rows the table has, without reading it; 0 where unknown."""

    def digest(self, part: Part, span: Span) -> Digest:
        """The digest of the span's rows."""

    def bound(self, part: Part, span: Span, rows: int) -> Key | None:
        """The key at which the first `rows` rows of the span end; None where it has no more rows than that."""

    def rows(self, part: Part, span: Span, limit: int) -> dict[Key, Digest]:
        """The span's rows by key, at most `limit` keys."""

    def rows_at(self, part: Part, keys: Sequence[Key]) -> dict[int, Digest]:
        """The rows with these keys (in either side's text form), by the key's place in `keys`; keys without a row are missing."""

    def close(self) -> None:
        """Let go. Idempotent."""


class SourceComparison(Comparison, Protocol):
    """A comparing session at a source."""

    def position(self) -> str:
        """A place of the log at or after everything that is visible now; the log is sent up to there without any further change."""

    def values(self, part: Part, keys: Sequence[Key]) -> list[tuple[bytes | None, ...]]:
        """The rows with these keys as a copy would bring them: the part's columns in the source's text form, whatever their `Form`."""
