"""Metadata: projects, data sources, tasks, mappings, runs, resets, tokens.

One schema for SQLite (the default) and PostgreSQL. `migrate` makes or renews it, `check` refuses any other than the newest, and
`SqlStore` implements the store's port on it. What is secret is encrypted cell by cell.
"""

from headwater.store.errors import StoreError
from headwater.store.migrate import check, migrate
from headwater.store.sql import SqlStore

__all__ = ["SqlStore", "StoreError", "check", "migrate"]
