"""Pairs of databases, by name: what stands left of the dash is the source, `oldest` and `newest` are PostgreSQL's.

Tests of the data plane run on `POSTGRES`. Those that could come out differently where MariaDB or MySQL stands on a side say so:
`@on(*POSTGRES, *CROSSED)`, or fewer pairs, because each costs seconds.
"""

from __future__ import annotations

import pytest

from tests.databases import AnyDatabase

Sides = tuple[AnyDatabase, AnyDatabase]
"""Source and target."""

POSTGRES = ("oldest-newest", "newest-oldest")
CROSSED = ("mariadb-newest", "oldest-mariadb", "mariadb-mariadb")


def on(*pairs: str) -> pytest.MarkDecorator:
    """The test, and every fixture that is built on `sides`, runs on these pairs."""
    return pytest.mark.parametrize("sides", pairs, indirect=True)
