"""A fresh service per test behind a real server, and clients that talk to it with and without signatures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from headwater.client import Client
from tests.serving import Served, listening, service


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    with service(tmp_path) as made:
        yield made


@pytest.fixture
def http(served: Served) -> Iterator[httpx.Client]:
    """Unsigned requests."""
    with listening(served.app) as url, httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        yield client


@pytest.fixture
def client(served: Served, http: httpx.Client) -> Iterator[Client]:
    """Signed requests of the administrator."""
    with served.client(str(http.base_url)) as client:
        yield client
