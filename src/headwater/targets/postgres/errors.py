"""From the driver's errors to ours. Nothing that could hold a row's values gets through.

PostgreSQL's DETAIL, and the message of every data error, quote values. So constraint and data errors are told by the names
of table, column, constraint and condition only; messages of other classes name objects, not values. The driver's error is never
chained, because a logged chain would show it whole.
"""

from __future__ import annotations

import re

import psycopg

from headwater.domain.errors import HeadwaterError, RowRefused, TargetError
from headwater.targets.postgres.config import PostgresTargetConfig

_RETRY_CLASSES = ("08", "40", "53", "57", "58")
_RETRY_STATES = frozenset({"55P03", "25006"})
_ROW_CLASSES = ("22", "23")
_ROW_STATES = frozenset({"54000", "P0001"})
"""Besides data and constraint errors: a value too long for an index, and a trigger of the target that refuses the row."""

_ENCODING_STATES = frozenset({"22P05", "22021"})
"""A character that the database's encoding lacks, and bytes that are no text in UTF-8 (from a source without an encoding)."""

_SAID_NO = (
    "password authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "is not permitted to log in",
    "no password supplied",
)
_COPY_PLACE = re.compile(r"^COPY (?P<table>[^,]+), line \d+(?:, column (?P<column>[^:]+?))?(?::|$)")
_WORDS = re.compile(r"(?<!^)(?=[A-Z])")


def cannot_connect(config: PostgresTargetConfig, error: psycopg.Error) -> TargetError:
    """Why a connection could not be made. libpq gives no error code here, only the server's words, which name user and database."""
    text = " ".join(str(error).split())
    kind = "target_refused" if any(words in text for words in _SAID_NO) else "target_unavailable"
    return TargetError(f"Can't connect to the target {config}: {text[:300]}", kind=kind)


def translate(error: psycopg.Error, doing: str) -> HeadwaterError:
    """Our error for a driver's error that came up while `doing` (a phrase such as "writing to public.t")."""
    state = error.sqlstate
    if state is None:
        return TargetError(f"The connection to the target was lost while {doing}.")
    condition = _WORDS.sub(" ", type(error).__name__).lower()
    if state[:2] in _RETRY_CLASSES or state in _RETRY_STATES:
        return TargetError(f"The target gave up while {doing}: {condition} ({state}). It is tried again.")
    text = f"The target refused {doing}: {_reason(error, state, condition)}"
    refuses_row = state[:2] in _ROW_CLASSES or state in _ROW_STATES
    return RowRefused(text) if refuses_row else TargetError(text, kind="target_refused")


def _reason(error: psycopg.Error, state: str, condition: str) -> str:
    diag = error.diag
    place = _place(diag)
    if state[:2] == "23":
        constraint = f" by constraint {diag.constraint_name}" if diag.constraint_name else ""
        return f"{condition}{constraint}{place} ({state}). Make target and source agree on it, or remove the constraint at the target."
    if state[:2] in ("42", "3F", "3D", "0A", "28", "55"):
        return f"{diag.message_primary} ({state})."
    if state in _ENCODING_STATES:
        return f"a text{place} that the encoding of the target's database can't hold ({state}). Write to a database in UTF8."
    return f"{condition}{place} ({state}). Make the target's column take every value that the source has."


def _place(diag: psycopg.errors.Diagnostic) -> str:
    table, column = diag.table_name, diag.column_name
    if table and diag.schema_name and diag.schema_name != "pg_temp" and not diag.schema_name.startswith("pg_temp_"):
        table = f"{diag.schema_name}.{table}"
    copied = _COPY_PLACE.match(diag.context or "")
    column = column or (copied["column"] if copied else None)
    return (f" in column {column}" if column else "") + (f" of table {table}" if table else "")
