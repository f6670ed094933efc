"""The model of `test_model.py` over real databases: the real adapters of both sides, held against the same promises.

Every adapter is in two of the pairs here. All pairs, for as long as one likes: `python -m tests.model.soak --minutes 10 --seed 7`.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.conftest import AnyServer
from tests.databases import AnyDatabase
from tests.model.real_world import between, play

SEED, STEPS = 2, 30
PAIRS = ("scripted-mysql", "mariadb-mysql", "mysql-newest", "newest-mariadb")
"""A pair costs some seconds. With the scripted source large values are left out of the log, and transactions come in parts."""


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_model_between(
    pair: str, make_servers: Callable[[str], tuple[AnyServer, AnyServer]], make_database: Callable[[AnyServer], AnyDatabase]
) -> None:
    name, _, target = pair.partition("-")
    servers = make_servers(f"{target if name == 'scripted' else name}-{target}")
    play(between(None if name == "scripted" else make_database(servers[0]), make_database(servers[1])), SEED, 1, STEPS)
