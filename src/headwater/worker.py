"""The entry point of worker processes, and their composition root: `python -m headwater.worker`.

Started by `engine/local_runtime.py`, which sends the order as the first line of standard input, commands as further lines, and reads
reports from standard output (`engine/messages.py`). Only what its kind needs is imported, because every task has a process.

A worker never outlives the service: the kernel kills it with its parent, and where that is not possible it ends when its
standard input does.
"""

from __future__ import annotations

import ctypes
import json
import logging
import os
import signal
import sys
import threading
import traceback
from contextlib import closing
from pathlib import Path
from typing import IO

from headwater.domain.errors import HeadwaterError
from headwater.engine.control import Control, SystemClock
from headwater.engine.messages import encode, exit_line, read_order, report_line
from headwater.engine.orders import ApplyOrder, CaptureOrder, VerifyOrder
from headwater.ports.runtime import Exit, Report, WorkerSpec

PR_SET_PDEATHSIG = 1

REPORT_S = 0.5
"""Reports go out at most this often, and only where something has changed."""

ALIVE_S = 5.0
"""How often a worker without news says that it is there."""

log = logging.getLogger("headwater.worker")


def main() -> None:
    """Run one worker; the exit status is 0 wherever its end was told to the parent."""
    _die_with_parent(int(sys.argv[1]))
    output = _own_output()
    _log_as_json()
    spec = read_order(sys.stdin.buffer.readline())
    mouth = Mouth(output)
    control = Control(mouth.post)
    signal.signal(signal.SIGTERM, lambda _number, _frame: control.tell({"stop": True}))
    threading.Thread(target=_listen, args=(control,), name="commands", daemon=True).start()
    threading.Thread(target=mouth.speak, name="reports", daemon=True).start()
    ended = _run(spec, control)
    mouth.last(exit_line(ended))
    os._exit(0)  # nothing is left to be flushed, and a thread that waits for a dead server must not hold us up


def _run(spec: WorkerSpec, control: Control) -> Exit:
    try:
        if spec.kind == "capture":
            run_capture(CaptureOrder.read(spec.payload), control)
        elif spec.kind == "verify":
            control.tell({"running": spec.payload["running"]})
            run_verify(VerifyOrder.read(spec.payload["order"]), control)
        else:
            run_apply(ApplyOrder.read(spec.payload["order"]), spec.payload["epoch"], control)
    except HeadwaterError as error:
        return Exit(error.kind, str(error))
    except Exception as error:  # noqa: BLE001 - told to the parent, without the error's text: it may hold row values
        place = traceback.extract_tb(error.__traceback__)[-1]
        log.error("worker_failed", extra={"fields": {"error": type(error).__name__, "stack": traceback.format_tb(error.__traceback__)}})
        return Exit("internal", f"{type(error).__name__} in {Path(place.filename).name}, line {place.lineno}.")
    return Exit("stopped", "")


def run_capture(order: CaptureOrder, control: Control) -> None:
    """Build and run a capture."""
    from headwater import adapters
    from headwater.engine.capture import CaptureJob, capture
    from headwater.engine.consent import Consent
    from headwater.engine.followed import FileNote

    directory = Path(order.journal_dir)
    consent = Consent(directory, order.history)
    source = adapters.source(order.source.type, order.source.id, order.source.content, order.source.secrets)
    with closing(adapters.journal_writer(directory, consent.stands)) as writer, closing(adapters.journal_reader(directory)) as reader:
        renewal = consent.use if consent.stands else None
        job = CaptureJob(source, order.tables, writer, reader, order.retention, renewal, FileNote(directory))
        capture(job, control, SystemClock())


def run_apply(order: ApplyOrder, epoch: int, control: Control) -> None:
    """Build and run an apply."""
    from headwater import adapters
    from headwater.engine.apply import ApplyJob, apply
    from headwater.engine.followed import FileNote
    from headwater.sealing import RowSeal

    note = FileNote(Path(order.journal_dir))
    job = ApplyJob(
        order.task_id,
        epoch,
        order.mappings,
        adapters.source(order.source.type, order.source.id, order.source.content, order.source.secrets),
        adapters.target(order.target.type, order.target.id, order.target.content, order.target.secrets),
        lambda: adapters.journal_reader(Path(order.journal_dir)),
        order.copy_streams,
        dirty=order.dirty,
        seal=RowSeal(order.row_key) if order.row_key else None,
        follows=lambda tables: {str(table) for table in tables} <= note.read().following,
    )
    apply(job, control, SystemClock())


def run_verify(order: VerifyOrder, control: Control) -> None:
    """Build and run a verification."""
    from headwater import adapters
    from headwater.engine.verify import VerifyJob, verify

    job = VerifyJob(
        order.task_id,
        order.mappings,
        order.shared,
        adapters.source(order.source.type, order.source.id, order.source.content, order.source.secrets),
        adapters.target(order.target.type, order.target.id, order.target.content, order.target.secrets),
        lambda: adapters.journal_reader(Path(order.journal_dir)),
        order.repair,
        order.load,
    )
    verify(job, control, SystemClock())


class Mouth:
    """Says what is new, at most every `REPORT_S`, from a thread of its own: a loop that waits for a server still reports."""

    def __init__(self, output: IO[bytes]) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._newest: Report | None = None
        self._said: Report | None = None
        self._ended = False

    def post(self, report: Report) -> None:
        """Make this the newest report."""
        if report != self._newest:
            self._newest = report
            self._news.set()

    def speak(self) -> None:
        """The thread."""
        pause = threading.Event()
        while True:
            news = self._news.wait(ALIVE_S)
            self._news.clear()
            if not news:
                self._write(encode({"alive": True}))
            else:
                self._say()
                pause.wait(REPORT_S)

    def last(self, line: bytes) -> None:
        """Say the newest report and this line; nothing after it."""
        self._say()
        self._write(line)
        self._ended = True

    def _say(self) -> None:
        newest = self._newest
        if newest is not None and newest != self._said:
            self._write(report_line(newest))
            self._said = newest

    def _write(self, line: bytes) -> None:
        with self._lock:
            if not self._ended:
                self._output.write(line)
                self._output.flush()


def _listen(control: Control) -> None:
    """Take commands until the service closes the pipe or is gone; then there is nobody to work for."""
    for line in sys.stdin.buffer:
        control.tell(json.loads(line))
    os._exit(1)


def _die_with_parent(parent: int) -> None:
    """Have the kernel kill us when the thread that started us ends; and check that this has not happened already."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _own_output() -> IO[bytes]:
    """Keep standard output for the protocol alone: whatever else prints goes to standard error."""
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return output


class _Json(logging.Formatter):
    """One object per line: `event`, `level`, and the fields of the record."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        return json.dumps({"event": record.getMessage(), "level": record.levelname.lower(), **getattr(record, "fields", {})})


def _log_as_json() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    logging.basicConfig(handlers=[handler], level=logging.INFO)
    logging.getLogger("psycopg").setLevel(logging.ERROR)  # it warns of each pipeline that a refused row ends


if __name__ == "__main__":
    main()
