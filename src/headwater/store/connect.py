"""Engines for the metadata, with what each database needs to be safe.

SQLite: rollback journal, full sync, foreign keys, every transaction BEGIN IMMEDIATE, and one connection that the threads of the
one writing process take in turns (a WAL database with several writers can be corrupted by the SQLite that CPython 3.11 brings).
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from headwater.store.errors import StoreError

BUSY_TIMEOUT_S = 10.0
"""How long a transaction waits for another process (`init` beside `serve`) before it fails."""

CONNECT_TIMEOUT_S = 10
POOL_TIMEOUT_S = 30.0


def parse(url: str) -> URL:
    """A database address that we support: `sqlite:///path` or `postgresql+psycopg://...` (plain `postgresql://` is taken as that)."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError(
            "The database URL can't be read; write sqlite:///PATH or postgresql+psycopg://USER:PASSWORD@HOST/DATABASE."
        ) from None
    if parsed.drivername in {"postgresql", "postgres"}:
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in {"sqlite", "postgresql+psycopg"} or (parsed.drivername == "sqlite" and not parsed.database):
        raise StoreError(f"The metadata can't live in {parsed.drivername}; write sqlite:///PATH or postgresql+psycopg://...")
    return parsed


def connect(url: str) -> Engine:
    """An engine; nothing is connected to yet. Parameters never show in errors."""
    parsed = parse(url)
    try:
        if parsed.drivername == "sqlite":
            return _sqlite(parsed)
        options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "headwater metadata"}
        return create_engine(parsed, hide_parameters=True, pool_pre_ping=True, pool_timeout=POOL_TIMEOUT_S, connect_args=options)
    except NoSuchModuleError:
        raise StoreError(f"There is no driver for {parsed.drivername} here.") from None


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        pool_size=1,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        for pragma in ("journal_mode=DELETE", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}").close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
