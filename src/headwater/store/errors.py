"""Errors of the metadata store. Texts never hold values of a row: the database's own message is cut to its first line."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError

from headwater.domain.errors import HeadwaterError


class StoreError(HeadwaterError):
    """The metadata can't be reached, has another schema, or can't be decrypted.

    Kinds: `store_unavailable`, `store_schema` (run `headwater init`), `store_key` (another secret key), `store_exists`
    (what was to be made is there already), `store_gone` (what it belongs to is not), `store_refused`.
    """

    kind = "store_unavailable"


def from_driver(error: DBAPIError) -> StoreError:
    """A store error without statement, parameters or DETAIL."""
    lines = str(error.orig).splitlines() or [type(error.orig).__name__]
    kind = "store_unavailable" if error.connection_invalidated or type(error).__name__ == "OperationalError" else "store_refused"
    return StoreError(f"The metadata store says: {lines[0][:200]}", kind=kind)
