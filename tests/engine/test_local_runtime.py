"""Worker processes of this machine: what becomes of them, however they or we end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.engine import local_runtime
from headwater.engine.local_runtime import LocalRuntime, LocalWorker
from headwater.engine.messages import encode, exit_line, read_order, read_report, report_line
from headwater.engine.orders import ApplyOrder, CaptureOrder, Connection
from headwater.ports.runtime import ApplyReport, CaptureReport, Exit, TableReport, WorkerSpec
from tests.databases import wait_until
from tests.engine.workbench import ACCOUNTS, RETENTION, mapping

NOWHERE = Connection("s", "POSTGRESQL", {"host": "127.0.0.1", "port": 1, "database_name": "d", "user_name": "u"}, {"password": "secret"})


@pytest.fixture
def runtime() -> Iterator[LocalRuntime]:
    made = LocalRuntime()
    yield made
    made.close()


def capture_spec(directory: Path) -> WorkerSpec:
    return WorkerSpec("capture", "s", CaptureOrder(NOWHERE, str(directory / "j"), (ACCOUNTS.table,), RETENTION, 2).payload())


def end_of(worker: LocalWorker) -> Exit:
    """How it ends; waits for that."""
    wait_until(worker.exited)
    ended = worker.exited()
    assert ended is not None
    return ended


def test_a_failure_is_told_with_its_kind_and_without_secrets(runtime: LocalRuntime, tmp_path: Path) -> None:
    worker = runtime.start(capture_spec(tmp_path))
    ended = end_of(worker)
    assert ended.kind == "source_unavailable"
    assert "secret" not in ended.message
    assert isinstance(worker.report(), CaptureReport)


def test_an_order_that_makes_no_sense_is_an_internal_failure(runtime: LocalRuntime) -> None:
    ended = end_of(runtime.start(WorkerSpec("apply", "t", {"order": {}, "epoch": 1})))
    assert ended == Exit("internal", ended.message)
    assert "KeyError" in ended.message


def test_a_killed_process_has_crashed(runtime: LocalRuntime, tmp_path: Path) -> None:
    worker = runtime.start(capture_spec(tmp_path))
    worker.kill()
    assert end_of(worker).kind == "crashed"
    worker.tell({"stop": True})  # nobody hears it, and nothing breaks
    worker.kill()


def test_closing_ends_every_process(tmp_path: Path) -> None:
    runtime = LocalRuntime()
    workers = [runtime.start(capture_spec(tmp_path / str(i))) for i in range(3)]
    runtime.close()
    assert all(worker.exited() is not None for worker in workers)
    runtime.close()


def test_a_frozen_process_is_killed(runtime: LocalRuntime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_runtime, "LOOK_S", 0.05)
    monkeypatch.setattr(local_runtime, "SILENT_S", 0.3)
    frozen = LocalRuntime()
    worker = frozen.start(capture_spec(tmp_path))
    assert worker.process is not None
    os.kill(worker.process.pid, signal.SIGSTOP)
    assert end_of(worker).kind == "crashed"
    frozen.close()


def test_words_that_are_not_ours_end_the_worker_and_nobody_else(runtime: LocalRuntime, tmp_path: Path) -> None:
    script = tmp_path / "liar.py"
    script.write_text("print('hello', flush=True)\nimport time\ntime.sleep(60)\n")
    liar = runtime._adopt(WorkerSpec("apply", "liar", {}), [sys.executable, str(script)])
    assert end_of(liar).kind == "crashed"
    honest = runtime.start(capture_spec(tmp_path))
    assert end_of(honest).kind == "source_unavailable"


def test_a_worker_ends_when_its_input_does(tmp_path: Path) -> None:
    """The way out where the kernel does not kill it with its parent."""
    process = subprocess.Popen(
        [sys.executable, "-m", "headwater.worker", str(os.getpid())], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env={**os.environ}
    )
    process.communicate(b"", timeout=30)
    assert process.returncode != 0


def test_orders_and_reports_survive_the_way() -> None:
    capture = CaptureOrder(NOWHERE, "/j", (ACCOUNTS.table,), RETENTION, 2)
    apply = ApplyOrder("t", NOWHERE, NOWHERE, "/j", (mapping(ACCOUNTS),), 3)
    for order, kind in ((capture, CaptureOrder), (apply, ApplyOrder)):
        line = encode({"kind": "apply", "id": "t", "payload": order.payload()})
        assert kind.read(read_order(line).payload) == order
    reports = (
        CaptureReport("capturing", lost=(("a.b", 3),)),
        ApplyReport("copying", tables=(TableReport("m", "a", "b", "copied", since=4),)),
    )
    for report in reports:
        assert read_report(json.loads(report_line(report))["report"]) == report
    assert len(exit_line(Exit("internal", "x" * 10_000))) < 2_000
