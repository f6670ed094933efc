"""The whole service, started as a user starts it and driven through its API, for rows that are about all our processes together."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from bench import machine
from bench.measure import until
from bench.servers import DATABASE
from headwater.client import Client, Mapped
from headwater.clusters import PrivatePostgres
from headwater.guard import Guarded

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0


class Service:
    """A context manager: `headwater init`, `headwater serve`, and a client."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="headwater-bench-service-"))
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "headwater", "init", "--data-dir", str(self.directory), "--json"]
        self.access = json.loads(subprocess.run(command, env=self._environment, capture_output=True, check=True).stdout)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        serve = [sys.executable, "-m", "headwater", "serve", "--data-dir", str(self.directory), "--port", str(port)]
        self.guarded = Guarded(serve, self.directory / "service.log", remove=self.directory, environment=self._environment)
        address = f"http://127.0.0.1:{port}"
        until(lambda: _ready(address), READY_TIMEOUT_S, "the service", 0.1)
        keys = self.access["access_key"], self.access["secret_key"]
        self.client = Client(address, *keys, self.access["project_id"], self.access["instance_id"])
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.client.close()
        self.guarded.signal(signal.SIGTERM)
        self.guarded.wait(STOP_TIMEOUT_S)
        shutil.rmtree(self.directory, ignore_errors=True)

    def data_source(self, name: str, server: PrivatePostgres) -> str:
        """Save a connection; its id."""
        who = {"user_name": server.user, "password": server.password}
        content = {"host": server.host, "port": str(server.port), "database_name": DATABASE, **who}
        return str(self.client.create_data_source(name, "POSTGRESQL", self.access["app_id"], content)["datasource_id"])

    def task(self, name: str, source: str, target: str, mapped: Mapped) -> str:
        """Make and start a task with one mapping; its id."""
        task_id = str(self.client.init_task(source, target)["task_id"])
        self.client.create_mapping(task_id, source, target, mapped)
        self.client.create_task(name, task_id)
        self.client.start(task_id)
        return task_id

    def state(self, task_id: str) -> str:
        """Its state."""
        detail: dict[str, Any] = self.client.task(task_id)["detail"]
        return str(detail["state"])

    def following(self, task_ids: list[str], timeout_s: float = 180) -> None:
        """Until all of them follow."""
        until(lambda: all(self.state(task_id) == "following" for task_id in task_ids), timeout_s, "tasks that follow", 0.3)

    def processes(self) -> list[int]:
        """The service with all its workers."""
        return machine.family(self.guarded.pid)


def _ready(address: str) -> bool:
    try:
        return httpx.get(f"{address}/readyz", trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False
