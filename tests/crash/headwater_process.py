"""The real service as a process of its own, to be killed and started again, with the means to hit a certain worker."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import httpx
import psutil  # type: ignore[import-untyped]

import headwater
from headwater.client import ApiError, Client, Mapped, Unreachable
from tests.databases import wait_until

WorkerKind = Literal["capture", "apply"]
Victim = Literal["capture", "apply", "service"]
START_TIMEOUT_S = 60.0


class Headwater:
    """One data directory, initialised once; `start` and `kill` as often as wanted. `application` is what `init` answered."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir / "service.log"
        source_dir = str(Path(headwater.__file__).parents[1])
        self.mark = f"CRASH_TEST_MARK={uuid.uuid4().hex}"  # every process that comes from us can be told by it
        name, _, value = self.mark.partition("=")
        self._environment = {**os.environ, "PYTHONPATH": source_dir, name: value, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoint = ""
        answer = subprocess.run(self._command("init", "--json"), env=self._environment, capture_output=True, check=True)
        self.application: dict[str, Any] = json.loads(answer.stdout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def log_tail(self, lines: int = 60) -> str:
        """The end of the service's log."""
        return "".join(self.log_path.read_text(errors="replace").splitlines(keepends=True)[-lines:]) if self.log_path.exists() else ""

    @property
    def pid(self) -> int:
        """Process id of the running service."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the service and wait until it is ready."""
        with self.log_path.open("ab") as log:
            began = log.tell()
            self._process = subprocess.Popen(self._command("serve", "--port", "0"), env=self._environment, stdout=log, stderr=log)
        self._endpoint = wait_until(lambda: self._announced(began), START_TIMEOUT_S, "the service's start")
        wait_until(self._ready, START_TIMEOUT_S, "the service's readiness")

    def kill(self) -> None:
        """kill -9, and wait until its workers are gone as well."""
        if self._process is None:
            return
        workers = self._workers()
        self._process.kill()
        self._process.wait()
        self._process = None
        psutil.wait_procs(workers, timeout=20)
        assert not any(worker.is_running() for worker in workers), "workers have outlived the service"

    def client(self) -> Client:
        """Our own client, signed; the caller closes it."""
        a = self.application
        return Client(self._endpoint, a["access_key"], a["secret_key"], a["project_id"], a["instance_id"])

    def processes(self) -> list[psutil.Process]:
        """Everything that lives and comes from us, whoever its parent is."""
        return [process for process in psutil.process_iter() if self.mark in _environment_of(process)]

    def call(self, method: str, *args: Any) -> Any:
        """One call of the client."""
        with self.client() as client:
            return getattr(client, method)(*args)

    def worker(self, kind: WorkerKind, timeout_s: float = 60.0) -> psutil.Process:
        """The process of the capture or the apply; there is one of each, but it may just be starting again."""
        return wait_until(lambda: self._worker(kind), timeout_s, f"a running {kind}")

    @contextlib.contextmanager
    def frozen(self, kind: Victim) -> Iterator[None]:
        """Stop (as by SIGSTOP) a process for the body of the `with`; it goes on afterwards, if it still lives."""
        process = psutil.Process(self.pid) if kind == "service" else self.worker(kind)
        process.suspend()
        try:
            yield
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def data_source(self, name: str, kind: str, content: Mapping[str, Any]) -> str:
        """Save a data source and return its id."""
        answer = self.call("create_data_source", name, kind, self.application["app_id"], dict(content))
        return str(answer["datasource_id"])

    def update_data_source(self, data_source_id: str, name: str, kind: str, content: Mapping[str, Any]) -> None:
        """Change a data source, through the API as well."""
        with self.client() as client:
            body = {
                "datasource_name": name,
                "datasource_type": kind,
                "app_id": self.application["app_id"],
                "content": dict(content),
            }
            client.call("PUT", f"/datasources/{data_source_id}", body=body)

    def combined_task(self, name: str, source_id: str, target_id: str, tables: Sequence[tuple[str, str]]) -> str:
        """Save a combined task over pairs of tables, each as `schema.table`, and return its id."""
        with self.client() as client:
            task_id = str(client.init_task(source_id, target_id)["task_id"])
            for pair in tables:
                client.create_mapping(task_id, source_id, target_id, Mapped(*pair))
            return client.create_task(name, task_id)

    def state(self, task_id: str) -> str:
        """The task's state, one of `domain/lifecycle.py`."""
        return str(self.call("task", task_id)["detail"]["state"])

    def wait_for(self, task_id: str, *states: str, timeout_s: float = 60.0) -> None:
        """Wait until the task is in one of these states."""
        wait_until(lambda: self.state(task_id) in states, timeout_s, f"task {task_id} getting {' or '.join(states)}")

    def reset(self, task_id: str, moment_ms: int | None) -> str:
        """Reset; the words of a refusal, empty where it was done."""
        try:
            self.call("reset", task_id, moment_ms)
        except ApiError as error:
            return f"{error.code} {error.message}"
        return ""

    def try_reset(self, task_id: str, moment_ms: int | None) -> None:
        """Reset, while the service may be killed under the call."""
        with contextlib.suppress(Unreachable):
            self.reset(task_id, moment_ms)

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "headwater", arguments[0], "--data-dir", str(self.data_dir), *arguments[1:]]

    def _workers(self) -> list[psutil.Process]:
        if self._process is None:
            return []
        try:
            return [child for child in psutil.Process(self._process.pid).children() if _order_of(child)]
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return []

    def _worker(self, kind: WorkerKind) -> psutil.Process | None:
        return next((worker for worker in self._workers() if _order_of(worker) == kind), None)

    def _announced(self, began: int) -> str:
        assert self._process is not None
        text = self.log_path.read_bytes()[began:].decode(errors="replace")
        assert self._process.poll() is None, f"the service ended: {text[-2000:]}"
        at = text.find("http://127.0.0.1:")
        return text[at:].split()[0].rstrip('",') if at >= 0 and "\n" in text[at:] else ""

    def _ready(self) -> bool:
        try:
            return httpx.get(f"{self._endpoint}/readyz", timeout=5, trust_env=False).is_success
        except httpx.TransportError:
            return False


def _order_of(process: psutil.Process) -> str:
    """What a worker process is, `capture` or `apply`; empty where it is none."""
    with contextlib.suppress(psutil.Error):
        command = process.cmdline()
        if "headwater.worker" in command:
            return str(command[command.index("headwater.worker") + 2])
    return ""


def _environment_of(process: psutil.Process) -> list[str]:
    try:
        return Path(f"/proc/{process.pid}/environ").read_text(errors="replace").split("\0")
    except OSError:  # it has ended, or is somebody else's
        return []


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
