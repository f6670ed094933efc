"""What the demo plays on: two private database servers and the service, each a real process, all gone afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from headwater.client import TIMEOUT_S, Client
from headwater.demo.sides import side
from headwater.guard import Guarded

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 12.0
USUAL_PORT = 8080


class DemoFailed(Exception):
    """The demo can't go on; the message says why, for a person."""


class Stage:
    """Built up step by step; leaving it ends everything and removes every file.

    `access` is what `headwater init --json` printed. `on_answer` is told of each HTTP answer (method, path, status).
    """

    def __init__(self, on_answer: Callable[[str, str, int], None], source: str, target: str) -> None:
        self.source, self.target = side(source), side(target)
        self.data_dir = Path(tempfile.mkdtemp(prefix="headwater-demo-"))
        self.address = ""
        self.access: dict[str, Any] = {}
        self._on_answer = on_answer
        self._service: Guarded | None = None
        self._open = ExitStack()
        self._open.callback(shutil.rmtree, self.data_dir, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._open.close()

    def open_databases(self) -> None:
        """Start both servers with an empty database `shop` each."""
        for one in (self.source, self.target):
            self._open.callback(one.server.close)
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda one: one.start(), (self.source, self.target)))

    def open_service(self) -> None:
        """`headwater init`, then `headwater serve` until it is ready."""
        made = subprocess.run(
            _headwater("init", "--data-dir", str(self.data_dir), "--json"), env=_environment(), capture_output=True, check=False
        )
        if made.returncode != 0:
            raise DemoFailed(f"headwater init failed: {made.stderr.decode(errors='replace')[-1000:]}")
        self.access = json.loads(made.stdout)
        port = _free_port()
        self.address = f"http://127.0.0.1:{port}"
        command = _headwater("serve", "--data-dir", str(self.data_dir), "--port", str(port))
        self._service = Guarded(command, self.data_dir / "service.log", remove=self.data_dir, environment=_environment())
        self._open.callback(self._stop_service)
        self._wait_ready(self._service)

    def client(self) -> Client:
        """A signing client of the service; closed with the stage."""
        hooks: dict[str, list[Callable[..., Any]]] = {"response": [self._answered]}
        http = self._open.enter_context(httpx.Client(timeout=TIMEOUT_S, trust_env=False, event_hooks=hooks))
        keys = self.access["access_key"], self.access["secret_key"]
        return Client(self.address, *keys, self.access["project_id"], self.access["instance_id"], http=http)

    @property
    def profile(self) -> Path:
        """A profile for the command line: where the service is, and who we are."""
        file = self.data_dir / "profile.json"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(json.dumps({"endpoint": self.address, **self.access}))
        return file

    def service_log(self, lines: int = 15) -> str:
        """The last lines of the service's log that are more than information."""
        file = self.data_dir / "service.log"
        told = file.read_text("utf-8", "replace").splitlines() if file.exists() else []
        return "\n".join([line for line in told if '"level": "info"' not in line][-lines:])

    def _answered(self, response: httpx.Response) -> None:
        _, _, path = response.request.url.path.partition(f"/instances/{self.access['instance_id']}")
        self._on_answer(response.request.method, path, response.status_code)

    def _wait_ready(self, service: Guarded) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < deadline:
            if not service.running:
                raise DemoFailed(f"headwater serve ended at once:\n{self.service_log()}")
            try:
                if httpx.get(f"{self.address}/readyz", trust_env=False).status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass  # not listening yet
            time.sleep(0.05)
        raise DemoFailed(f"headwater serve did not become ready:\n{self.service_log()}")

    def _stop_service(self) -> None:
        if self._service is not None:
            self._service.signal(signal.SIGTERM)
            self._service.wait(STOP_TIMEOUT_S)


def _headwater(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "headwater", *arguments]


def _environment() -> dict[str, str]:
    """Ours without any setting of Headwater: the demo shows the defaults."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}


def _free_port() -> int:
    """The usual port if it is free, otherwise any."""
    for port in (USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoFailed("There is no free TCP port on 127.0.0.1.")
