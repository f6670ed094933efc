"""Checksums, so that damage is told and never read as history."""

from __future__ import annotations

import struct
import zlib

from headwater.domain.errors import JournalError


def damaged(what: str) -> JournalError:
    """The error for content that is not what was written."""
    return JournalError(f"The journal is damaged: {what}. Restore the journal, or begin a new history.")


def seal(body: bytes, *numbers: int) -> int:
    """The checksum of a blob together with the index values that reading it relies on.

    Values that are no numbers (any more) give a checksum that fits nothing."""
    try:
        return zlib.crc32(body, zlib.crc32(struct.pack(f"<{len(numbers)}q", *numbers)))
    except (struct.error, TypeError):
        return -1
