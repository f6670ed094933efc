"""Set-aside rows on the wire. All of it is ours: the contract knows dirty data of combined tasks only as a number."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from headwater.api.payloads.common import UPPER, Query, QueryInt, QueryText, Request, Response, given
from headwater.domain.dirty import ROWS_MAX, DirtyPolicy
from headwater.services.dirty_rows import IDS_MAX, Mended, ShownRow
from headwater.services.pages import Page

DEFAULT_ROWS_MAX = 100
"""What a task may set aside where only `SET_ASIDE` is said: enough for accidents, too few for a wrong schema."""


class DirtyRowsPolicy(Request):
    """What a task does with rows that its target refuses."""

    policy: Annotated[Literal["STOP", "SET_ASIDE"], UPPER]
    rows_max: Annotated[int, Field(ge=1, le=ROWS_MAX)] | None = Field(None, description="open rows at the same time; default 100")
    rows_per_minute_max: Annotated[int, Field(ge=1, le=ROWS_MAX)] | None = Field(
        None, description="rows newly set aside within any 60 seconds; without it there is no such limit"
    )

    def form(self) -> DirtyPolicy:
        """For the service."""
        if self.policy == "STOP":
            return DirtyPolicy()
        return DirtyPolicy(given(self.rows_max, DEFAULT_ROWS_MAX), self.rows_per_minute_max)


class DirtyRowsQuery(Query):
    """Filters of the list."""

    state: QueryText = None
    limit: QueryInt = None
    offset: QueryInt = None
    rows: bool = Field(False, description="answer with the rows themselves; pages may be shorter then")

    def page(self) -> tuple[int, int]:
        """Limit and offset for the service."""
        return given(self.limit, IDS_MAX), given(self.offset, 0)


class DirtyRowsBody(Request):
    """Body of retry and discard."""

    ids: Annotated[list[Annotated[str, Field(max_length=64)]], Field(min_length=1, max_length=IDS_MAX)]


class DirtyRowShown(Response):
    """One set-aside row. `row` is null where it was not asked for, or is not kept any more."""

    id: str
    state: str
    source_table: str
    target_table: str
    kind: str
    reason: str
    position: str | None
    commit_ms: int | None = Field(description="commit time at the source, ms since 1970, UTC; null for rows of a copy")
    first_ms: int
    last_ms: int
    times: int
    row_bytes: int
    settled_by: str
    settled_ms: int | None
    row: dict[str, str | None] | None

    @classmethod
    def of(cls, shown: ShownRow) -> DirtyRowShown:
        """From the service."""
        record = shown.record
        return cls(
            id=record.id,
            state=record.state,
            source_table=record.source_table,
            target_table=record.target_table,
            kind=record.kind,
            reason=record.reason,
            position=record.position,
            commit_ms=None if record.commit_us is None else record.commit_us // 1000,
            first_ms=record.first_us // 1000,
            last_ms=record.last_us // 1000,
            times=record.times,
            row_bytes=record.row_bytes,
            settled_by=record.settled_by,
            settled_ms=None if record.settled_us is None else record.settled_us // 1000,
            row=shown.row,
        )


class DirtyRowsList(Response):
    """A page of set-aside rows."""

    total: int
    size: int
    entities: list[DirtyRowShown]

    @classmethod
    def of(cls, page: Page[ShownRow]) -> DirtyRowsList:
        """From the service."""
        return cls(total=page.total, size=len(page.items), entities=[DirtyRowShown.of(row) for row in page.items])


class DirtyRowRefused(Response):
    """A row that was refused again."""

    id: str
    reason: str


class DirtyRowsMended(Response):
    """What became of the rows that were named."""

    done: list[str]
    refused: list[DirtyRowRefused]
    left: list[str] = Field(description="settled before, or unknown")

    @classmethod
    def of(cls, mended: Mended) -> DirtyRowsMended:
        """From the service."""
        refused = [DirtyRowRefused(id=i, reason=why) for i, why in mended.refused]
        return cls(done=list(mended.done), refused=refused, left=list(mended.left))
