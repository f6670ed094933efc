"""Verifications on the wire: an extension of ours, so the names are our own and carry their units."""

from __future__ import annotations

from typing import Any

from headwater.api.payloads.common import Query, QueryInt, Request, Response, given
from headwater.ports.runtime import VerifiedTable
from headwater.ports.store import Verification
from headwater.services.pages import Page


class VerifyBody(Request):
    """What to verify, and whether to repair."""

    repair: bool | None = None


class VerificationQuery(Query):
    """A page of verifications."""

    limit: QueryInt = None
    offset: QueryInt = None

    def page(self) -> tuple[int, int]:
        """Limit and offset."""
        return given(self.limit, 10), given(self.offset, 0)


class DifferenceRsp(Response):
    """A row that differs."""

    key: list[str]
    kind: str
    repaired: bool


class VerifiedTableRsp(Response):
    """One mapping."""

    mapping_id: str
    source_table: str
    target_table: str
    state: str
    rows: int
    rows_expected: int
    missing: int
    extra: int
    differing: int
    repaired: int
    unsettled: int
    left_out: list[str]
    message: str
    keys: list[DifferenceRsp]

    @classmethod
    def of(cls, table: VerifiedTable) -> VerifiedTableRsp:
        """From the record."""
        keys = [DifferenceRsp(key=list(one.key), kind=one.kind, repaired=one.repaired) for one in table.keys]
        return cls(**{**vars(table), "left_out": list(table.left_out), "keys": keys})


class VerificationRsp(Response):
    """One verification."""

    id: str
    task_id: str
    by: str
    repair: bool
    after_reset: bool
    asked_ms: int
    started_ms: int | None
    ended_ms: int | None
    outcome: str
    message: str
    offset: int | None
    rows_per_s: float
    tables: list[VerifiedTableRsp]

    @classmethod
    def of(cls, verification: Verification) -> VerificationRsp:
        """From the record."""
        return cls(**{**vars(verification), "tables": [VerifiedTableRsp.of(table) for table in verification.tables]})


class VerificationList(Response):
    """A page of verifications."""

    total: int
    entities: list[VerificationRsp]

    @classmethod
    def of(cls, page: Page[Verification]) -> VerificationList:
        """From the service."""
        return cls(total=page.total, entities=[VerificationRsp.of(one) for one in page.items])


def verification_members(verification: Verification) -> dict[str, Any]:
    """The summary of a verification in `task_detail`: without keys of rows."""
    counted = ("missing", "extra", "differing", "repaired", "unsettled", "rows")
    sums = {name: sum(getattr(table, name) for table in verification.tables) for name in counted}
    shown = ("id", "by", "repair", "asked_ms", "started_ms", "ended_ms", "outcome", "message", "offset")
    return {**{name: getattr(verification, name) for name in shown}, **sums}
