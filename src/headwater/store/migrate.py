"""Bringing the metadata's schema to the newest, and refusing to work with any other.

`init` migrates; `serve` only checks, so that a schema never changes because a process happened to start.
"""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from headwater.store.connect import connect, parse
from headwater.store.errors import StoreError, from_driver

_LOCK_NUMBER = 4_801_371_001
"""Number of the PostgreSQL advisory lock that keeps two `init` apart."""


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration for our scripts, working on an open connection."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    made.attributes["connection"] = connection
    return made


def migrate(url: str) -> None:
    """Bring the schema to the newest, in one transaction. Does nothing where it is already; safe to call twice at once.

    Raises StoreError: `store_unavailable`, or `store_schema` for a schema that is newer than this program."""
    engine = connect(url)
    try:
        with engine.begin() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK_NUMBER})
            _refuse_newer(connection)
            command.upgrade(config(connection), "head")
    except DBAPIError as error:
        raise from_driver(error) from None
    finally:
        engine.dispose()


def check(url: str) -> None:
    """Return where the schema is exactly the newest. Raises StoreError (`store_schema`) that says what to run otherwise."""
    parsed = parse(url)
    if parsed.drivername == "sqlite" and not Path(str(parsed.database)).exists():
        raise StoreError(f"There is no metadata in {parsed.database}; run `headwater init` first.", kind="store_schema")
    engine = connect(url)
    try:
        with engine.begin() as connection:
            _refuse_newer(connection)
            found = MigrationContext.configure(connection).get_current_revision()
    except DBAPIError as error:
        raise from_driver(error) from None
    finally:
        engine.dispose()
    newest = ScriptDirectory.from_config(config()).get_current_head()
    if found != newest:
        raise StoreError(
            f"The metadata's schema is {found or 'not made yet'}, this version needs {newest}; run `headwater init` once.",
            kind="store_schema",
        )


def _refuse_newer(connection: Connection) -> None:
    found = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(
            f"The metadata's schema {found} is newer than this version of Headwater; use the newer version.", kind="store_schema"
        )
