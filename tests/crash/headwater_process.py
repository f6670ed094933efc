"""The real service as a process of its own, to be killed and started again, with the means to hit a certain worker."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import httpx
import psutil  # type: ignore[import-untyped]

import headwater
from headwater.client import ApiError, Client, Mapped, Unreachable
from tests.databases import Database, wait_until

Victim = Literal["capture", "apply", "service"]
START_TIMEOUT_S = 60.0


class Headwater:
    """One data directory, initialised once; `start` and `kill` as often as wanted. `application` is what `init` answered."""

    def __init__(self, data_dir: Path, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir
        self.log_path = data_dir / "service.log"
        source_dir = str(Path(headwater.__file__).parents[1])
        self._environment = {**os.environ, "PYTHONPATH": source_dir, **(settings or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._endpoint = ""
        answer = subprocess.run(self._command("init", "--json"), env=self._environment, capture_output=True, check=True)
        self.application: dict[str, Any] = json.loads(answer.stdout)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None and self.log_path.exists():
            print("".join(self.log_path.read_text(errors="replace").splitlines(keepends=True)[-60:]))
        self.kill()

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

    def call(self, method: str, *args: Any) -> Any:
        """One call of the client."""
        with self.client() as client:
            return getattr(client, method)(*args)

    def kill_worker(self, victim: Victim, port: int) -> bool:
        """kill -9 one worker: the apply that is connected to a target's `port`, or the capture, which is connected to the source's."""
        for worker in self._workers():
            if self._has_connection(worker, port):
                with contextlib.suppress(psutil.NoSuchProcess):
                    worker.kill()
                    return True
        return False

    @contextlib.contextmanager
    def frozen(self, port: int) -> Iterator[None]:
        """Stop (as by SIGSTOP) the worker that is connected to `port`; it goes on afterwards, if it still lives."""
        worker = wait_until(lambda: [w for w in self._workers() if self._has_connection(w, port)], what="a worker to freeze")[0]
        worker.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.send_signal(signal.SIGCONT)

    def data_source(self, name: str, database: Database) -> str:
        """Save a data source and return its id."""
        cluster = database.cluster
        content = {
            "host": cluster.host,
            "port": str(cluster.port),
            "database_name": database.name,
            "user_name": cluster.user,
            "password": cluster.password,
        }
        answer = self.call("create_data_source", name, "POSTGRESQL", self.application["app_id"], content)
        return str(answer["datasource_id"])

    def combined_task(self, name: str, source_id: str, target_id: str, tables: Sequence[str]) -> str:
        """Save a combined task over tables of the same name on both sides, and return its id."""
        with self.client() as client:
            task_id = str(client.init_task(source_id, target_id)["task_id"])
            for table in tables:
                client.create_mapping(task_id, source_id, target_id, Mapped(f"public.{table}", f"public.{table}"))
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
            children = psutil.Process(self._process.pid).children()
            return [child for child in children if "headwater.worker" in " ".join(child.cmdline())]
        except (psutil.NoSuchProcess, psutil.ZombieProcess):
            return []

    @staticmethod
    def _has_connection(worker: psutil.Process, port: int) -> bool:
        try:
            return any(c.raddr and c.raddr.port == port for c in worker.net_connections("tcp"))
        except psutil.Error:
            return False

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


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000
