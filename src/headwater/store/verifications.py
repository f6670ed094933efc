"""Verifications in SQL. What was found is one sealed cell, because it holds keys of rows."""

from __future__ import annotations

import json
from dataclasses import asdict

from sqlalchemy import RowMapping, delete, select

from headwater.ports.runtime import VerifiedTable
from headwater.ports.store import Verification
from headwater.store.base import SqlPart, cleaned
from headwater.store.errors import StoreError
from headwater.store.schema import verifications

KEPT = 100
"""Verifications kept per task."""


def _place(verification_id: str) -> str:
    return f"verifications.tables.{verification_id}"


class SqlVerifications(SqlPart):
    """`VerificationStore` on SQL."""

    def save_verification(self, verification: Verification) -> None:
        """See the port."""
        values = {name: getattr(verification, name) for name in Verification.__dataclass_fields__}
        values |= {"by": cleaned(verification.by), "message": cleaned(verification.message)}
        found = json.dumps([asdict(table) for table in verification.tables]).encode()
        values["tables"] = self._box.seal(found, _place(verification.id))
        ended = select(verifications.c.id).where(verifications.c.id == verification.id, verifications.c.ended_ms.is_not(None))
        of_task = verifications.c.task_id == verification.task_id
        oldest = select(verifications.c.seq).where(of_task).order_by(verifications.c.seq.desc()).limit(1).offset(KEPT - 1)
        try:
            with self._transaction() as connection:
                if connection.execute(ended).first() is None:
                    self._put(connection, verifications, values)
                    connection.execute(delete(verifications).where(of_task, verifications.c.seq < oldest.scalar_subquery()))
        except StoreError as error:
            if error.kind != "store_gone":
                raise

    def verifications(self, task_id: str | None = None, *, only_open: bool = False, limit: int | None = None) -> list[Verification]:
        """See the port."""
        query = select(verifications).order_by(verifications.c.seq.desc()).limit(limit)
        if task_id is not None:
            query = query.where(verifications.c.task_id == task_id)
        if only_open:
            query = query.where(verifications.c.ended_ms.is_(None))
        return [self._verification(row) for row in self._all(query)]

    def _verification(self, row: RowMapping) -> Verification:
        values = {name: row[name] for name in Verification.__dataclass_fields__}
        found = json.loads(self._box.open(row["tables"], _place(row["id"])))
        return Verification(**{**values, "tables": tuple(VerifiedTable.read(table) for table in found)})
