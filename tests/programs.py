"""The program `headwater` as its users run it: a process with arguments, an exit status and a log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from headwater.client import Client
from tests.databases import AnyDatabase, content, wait_until


def headwater(*arguments: str, environment: Mapping[str, str] | None = None, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    command = [sys.executable, "-m", "headwater", *arguments]
    return subprocess.run(command, env=_environment(environment), capture_output=True, text=True, check=False, timeout=timeout_s)


def initialised(data_dir: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """`headwater init --json`; what it printed."""
    made = headwater("init", "--data-dir", str(data_dir), "--json", *arguments, environment=environment)
    assert made.returncode == 0, made.stderr
    answer: dict[str, Any] = json.loads(made.stdout)
    return answer


def worker_pids(parent: int) -> list[int]:
    """Processes whose parent is `parent`."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def alive(pid: int) -> bool:
    """Whether the process is there and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Service:
    """`headwater serve` on a free port, from the block's begin to its end. `access` is what `init` printed."""

    def __init__(self, data_dir: Path, access: Mapping[str, Any], *arguments: str) -> None:
        self.access = access
        self.log = data_dir / "test-service.log"
        self.address = ""
        self._command = [sys.executable, "-m", "headwater", "serve", "--data-dir", str(data_dir), "--port", "0", *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(self._command, env=_environment(), stdout=log, stderr=log)
        self.address = wait_until(self._told_address, 60, "the service's address")
        wait_until(lambda: httpx.get(f"{self.address}/readyz", trust_env=False).is_success, 60, "readiness")
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None
        return self._process

    def client(self) -> Client:
        """A signing client; the caller closes it."""
        keys = str(self.access["access_key"]), str(self.access["secret_key"])
        return Client(self.address, *keys, str(self.access["project_id"]), str(self.access["instance_id"]))

    def stop(self) -> int:
        """SIGTERM; the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)

    def events(self) -> list[dict[str, Any]]:
        """The log's entries."""
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def _told_address(self) -> str:
        assert self.process.poll() is None, self.log.read_text()
        return next((str(entry["address"]) for entry in self.events() if entry["event"] == "serving"), "")


def follow(client: Client, app_id: str, source: AnyDatabase, target: AnyDatabase, name: str = "task") -> str:
    """Make two data sources and a task over all tables that fit by name, start it, and wait until it follows; its id."""
    ids = [client.create_data_source(f"{name}-{one.name}", one.type, app_id, content(one))["datasource_id"] for one in (source, target)]
    mapped = client.init_task(*ids, auto_mapping=True)
    task_id = client.create_task(name, mapped["task_id"])
    client.start(task_id)
    wait_until(lambda: state(client, task_id) == "following", 90, "the task to follow")
    return task_id


def state(client: Client, task_id: str) -> str:
    """A task's state; fails where the task has."""
    seen = next(task for task in client.monitors() if task["task_id"] == task_id)
    assert seen["state"] != "failed", seen["message"]
    return str(seen["state"])


def _environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Ours without any setting of Headwater."""
    return {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")} | dict(more or {})
