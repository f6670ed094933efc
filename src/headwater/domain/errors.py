"""The errors that Headwater raises on purpose: what happened, to what, and what the person can do next.

The tree is small because callers choose by *kind*, never by text. A `kind` is a key of the failure table in
`failures.py`, which says whether a worker retries, stops, or waits for a person.
"""

from __future__ import annotations


class HeadwaterError(Exception):
    """Something that we understand went wrong. `str(error)` is a sentence for the operator."""

    kind = "internal"

    def __init__(self, message: str, *, kind: str | None = None) -> None:
        super().__init__(message)
        if kind is not None:
            self.kind = kind


class SourceError(HeadwaterError):
    """The source database refused, vanished, or lost what we need."""

    kind = "source_unavailable"


class TargetError(HeadwaterError):
    """The target database refused or vanished."""

    kind = "target_unavailable"


class RowRefused(TargetError):
    """The target refuses rows of a write for what they hold: a value that does not fit, a constraint, a trigger."""

    kind = "row_refused"


class DirtyLimit(HeadwaterError):
    """More rows are refused than the task may set aside. Nothing of the batch that brought them is written."""

    kind = "dirty_limit"


class Fenced(HeadwaterError):
    """A newer epoch holds the task. Whoever gets this must stop at once and never write again (P4)."""

    kind = "fenced"


class JournalError(HeadwaterError):
    """The journal is damaged, full, missing, or does not hold what was asked for."""

    kind = "journal_damaged"


class OutOfWindow(HeadwaterError):
    """A place in the history was asked for that the journal does not hold (any more, or yet)."""

    kind = "out_of_window"


class DecodeError(HeadwaterError):
    """Bytes or changes that we do not understand. Never skipped (P7)."""

    kind = "undecodable"


class SchemaMismatch(HeadwaterError):
    """A mapping no longer fits the tables that it joins."""

    kind = "schema_mismatch"
