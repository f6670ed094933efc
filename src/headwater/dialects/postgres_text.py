"""What the text form of PostgreSQL's values depends on, pinned alike in every session of ours: at the source, at the target, for comparing.

Values travel in this form (decision 0002), so one session that differs changes values (P8).
"""

from __future__ import annotations

TEXT_SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",  # exact to the microsecond, with a sign on each field
    "extra_float_digits": "3",  # shortest text that reads back as the same number
    "bytea_output": "hex",
    "lc_monetary": "C",
    "xmloption": "content",
    "array_nulls": "on",  # bounds of a chunk may be arrays
    "quote_all_identifiers": "off",
    "search_path": "pg_catalog",  # names of types, tables and functions in values come out qualified
    "row_security": "off",  # a policy that would hide rows is an error, never a silent gap
}

PINNED_AGAIN = "SET TimeZone = 'UTC'; SET DateStyle = 'ISO'"
"""libpq sends PGTZ and PGDATESTYLE of our own environment too, and the server takes them for the later word."""
