"""The control plane of the service tests. The metadata is migrated and initialised once, and copied for each test."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.services.setup import FirstAccess, initialise
from headwater.store import SqlStore, migrate
from tests.services.control_plane import KEY, Plane


@pytest.fixture(scope="session")
def initialised(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FirstAccess]:
    """A metadata file as `headwater init` leaves it, and what init told."""
    path = tmp_path_factory.mktemp("initialised") / "metadata.db"
    migrate(f"sqlite:///{path}")
    store = SqlStore(f"sqlite:///{path}", KEY)
    access = initialise(store)
    store.close()
    return path, access


@pytest.fixture
def plane(initialised: tuple[Path, FirstAccess], tmp_path: Path) -> Iterator[Plane]:
    """Services over a fresh metadata store."""
    path = shutil.copy(initialised[0], tmp_path / "metadata.db")
    made = Plane(f"sqlite:///{path}", initialised[1])
    yield made
    made.store.close()
