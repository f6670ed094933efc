"""The real API over the real store and services, for tests that speak HTTP; the engine is put together but does not run."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import uvicorn
from fastapi import FastAPI

from headwater.api.app import create_app
from headwater.api.server import HTTP_OPTIONS
from headwater.bootstrap import Parts, assemble
from headwater.client import Client
from headwater.ports.store import AccessKey, Scope, User
from headwater.services.access import Passwords
from headwater.services.setup import FirstAccess, initialise
from headwater.settings import Settings
from headwater.store import SqlStore, migrate
from tests.databases import wait_until

KEY = b"k" * 32


@dataclass
class Served:
    """One service. `scope_path` is the path below which its operations lie."""

    app: FastAPI
    parts: Parts
    store: SqlStore
    first: FirstAccess

    @property
    def scope_path(self) -> str:
        """`/v2/{project_id}/fdi/instances/{instance_id}`."""
        return f"/v2/{self.first.project_id}/fdi/instances/{self.first.instance_id}"

    def client(self, endpoint: str, http: Any = None) -> Client:
        """Our own client with the administrator's key."""
        first = self.first
        return Client(endpoint, str(first.access_key), str(first.secret_key), first.project_id, first.instance_id, http=http)

    def add_user(self, name: str) -> FirstAccess:
        """A second user with a project and instance of its own; its password is its name."""
        scope = Scope(f"{name:0>32}", f"00000000-0000-0000-0000-{name:0>12}")
        user = User(f"id-{name}", "d2", "other", name, Passwords().hash(name), scope, f"app-{name}", "app", "default")
        self.store.create_user(user, AccessKey(f"AK{name}", f"SK{name}", user.id))
        return FirstAccess(True, scope.project_id, scope.instance_id, user.app_id, "other", name, name, f"AK{name}", f"SK{name}")


@cache
def _initialised() -> tuple[bytes, FirstAccess]:
    """The metadata file after `init`; made once per test process, because migrations and password hashes take their time."""
    path = Path(mkdtemp(prefix="headwater-test-")) / "headwater.db"
    migrate(f"sqlite:///{path}")
    store = SqlStore(f"sqlite:///{path}", KEY)
    first = initialise(store)
    store.close()
    content = path.read_bytes()
    path.unlink()
    path.parent.rmdir()
    return content, first


@contextmanager
def service(directory: Path) -> Iterator[Served]:
    """A fresh service in `directory`."""
    content, first = _initialised()
    settings = Settings(data_dir=directory)
    (directory / "headwater.db").write_bytes(content)
    store = SqlStore(settings.metadata_url, KEY)
    try:
        parts = assemble(settings, store, KEY)
        yield Served(create_app(parts.services), parts, store, first)
    finally:
        store.close()


@contextmanager
def listening(app: FastAPI) -> Iterator[str]:
    """Serve an app on a free port of this machine; yields its address."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, **HTTP_OPTIONS))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started or not thread.is_alive(), what="the server")
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
