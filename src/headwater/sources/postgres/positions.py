"""Positions: PostgreSQL's log sequence numbers, as text outside and as integers inside."""

from __future__ import annotations


def parse(position: str) -> int:
    """`16/B374D848` as a number.

    Raises:
        ValueError: it is not a log sequence number.
    """
    high, slash, low = position.partition("/")
    if not slash or not 1 <= len(low) <= 8:
        raise ValueError(f"'{position}' is not a position of PostgreSQL's log")
    return (int(high, 16) << 32) | int(low, 16)


def text(position: int) -> str:
    """The number as PostgreSQL writes it."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
