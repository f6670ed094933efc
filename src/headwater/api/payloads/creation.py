"""Creating target tables on the wire: an extension of ours."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from headwater.api.payloads.common import Request, Response, TableText
from headwater.services.creation import TABLES_MAX, Creation


class CreateTablesBody(Request):
    """Which source tables (null or none: all that lack a target table), and whether only to say what would be done."""

    tables: Annotated[list[TableText], Field(max_length=TABLES_MAX)] | None = None
    dry_run: bool | None = None


class CreationRsp(Response):
    """One table."""

    source_table: str
    target_table: str
    statements: list[str]
    notes: list[str]
    problem: str
    created: bool

    @classmethod
    def of(cls, creation: Creation) -> CreationRsp:
        """From the service's answer."""
        return cls(**{**vars(creation), "statements": list(creation.statements), "notes": list(creation.notes)})


class CreationList(Response):
    """The tables that were missing, by the name of their source table."""

    tables: list[CreationRsp]
