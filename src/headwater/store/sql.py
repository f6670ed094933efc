"""The metadata store on SQLite or PostgreSQL, put together from its parts."""

from __future__ import annotations

from sqlalchemy import text

from headwater.store.access import SqlAccess
from headwater.store.connect import connect
from headwater.store.data_sources import SqlDataSources
from headwater.store.history import SqlHistory
from headwater.store.secrets import SecretBox
from headwater.store.tasks import SqlTasks
from headwater.store.verifications import SqlVerifications


class SqlStore(SqlTasks, SqlHistory, SqlVerifications, SqlDataSources, SqlAccess):
    """`Store` on one database whose schema is the newest (`migrate`, `check`). Making one connects to nothing.

    Methods raise StoreError: `store_unavailable`, `store_exists`, `store_gone`, `store_key`, `store_refused`."""

    def __init__(self, url: str, secret_key: bytes) -> None:
        super().__init__(connect(url), SecretBox(secret_key))

    def ping(self) -> None:
        """See the port."""
        with self._transaction() as connection:
            connection.execute(text("SELECT 1"))

    def close(self) -> None:
        """See the port."""
        self._engine.dispose()
