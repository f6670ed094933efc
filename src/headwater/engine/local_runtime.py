"""Workers as processes of this machine: started as `python -m headwater.worker`, spoken to over pipes, never outliving us.

One thread reads the pipes of all workers. A process is started afresh (no fork of our threads and locks) and ends itself when its
standard input ends or its parent dies, however that happens: see `headwater/worker.py`.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import IO, Any

from headwater.engine.log import Log
from headwater.engine.messages import encode, order_line, read_report
from headwater.ports.runtime import Exit, Report, VerifyReport, WorkerSpec

LINE_MAX = 4 << 20
"""A line from a worker that is longer than this ends its connection (P9)."""

END_TIMEOUT_S = 5.0
"""How long a process that has closed its output may take to end before it is killed."""

SILENT_S = 60.0
"""A worker says something every few seconds; one that has been silent for this long is frozen, and killed."""

LOOK_S = 5.0
"""How often silence is looked for."""

PIPE_BYTES_USUAL = 1 << 16
"""What a pipe holds by itself."""

PIPE_BYTES = 1 << 20
"""Room for an order with thousands of mappings, so that starting a worker does not wait for its imports."""

WORKER_ENV = {"MALLOC_ARENA_MAX": "2", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
"""Fewer arenas keep a worker's resident memory close to what it uses."""

log = Log("headwater.worker")


class LocalWorker:
    """One worker process. What it said last is set by the reading thread and read by anyone."""

    def __init__(self, spec: WorkerSpec, process: subprocess.Popen[bytes] | None, ended: Exit | None = None) -> None:
        self.spec = spec
        self.process = process
        self._report: Report | None = None
        self._said: Exit | None = ended
        self._ended: Exit | None = ended
        self._lock = threading.Lock()
        self.heard_at = time.monotonic()

    def report(self) -> Report | None:
        """See `Worker.report`."""
        return self._report

    def exited(self) -> Exit | None:
        """See `Worker.exited`."""
        return self._ended

    def tell(self, command: dict[str, Any]) -> None:
        """See `Worker.tell`. A worker that has gone hears nothing."""
        if self.process is None or self._ended is not None:
            return
        assert self.process.stdin is not None
        with self._lock:
            try:
                self.process.stdin.write(encode(command))
                self.process.stdin.flush()
            except (BrokenPipeError, ValueError):
                log.info("worker_gone", worker=self.spec.kind, id=self.spec.id)

    def kill(self) -> None:
        """See `Worker.kill`."""
        if self.process is not None and self._ended is None:
            self.process.kill()

    def heard(self, line: bytes) -> bool:
        """Take one line of its standard output (reading thread); True where the supervisor should hear of it at once."""
        message = json.loads(line)
        self.heard_at = time.monotonic()
        before = self._report
        if "report" in message:
            self._report = read_report(message["report"])
        elif "exit" in message:
            self._said = Exit(**message["exit"])
        return self._report is not None and _news(self._report) != (_news(before) if before is not None else None)

    def reap(self) -> None:
        """Its standard output has ended: wait for the process and set how it ended (reading thread)."""
        assert self.process is not None
        try:
            code = self.process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        with self._lock:
            self._ended = self._said or Exit("crashed", f"The {self.spec.kind} process ended without a word (exit status {code}).")
            for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
                if pipe is not None:
                    _close(pipe)


@dataclass
class _Pipe:
    """One pipe of one worker with the beginning of a line that is not complete."""

    worker: LocalWorker
    file: IO[bytes]
    is_log: bool
    rest: bytes = field(default=b"", repr=False)


class LocalRuntime:
    """Runtime of one machine. `on_change` is called (from the reading thread) when a worker has entered another state or ended."""

    def __init__(self, on_change: Callable[[], None] = lambda: None, environment: dict[str, str] | None = None) -> None:
        self.on_change = on_change
        self._environment = {**os.environ, **WORKER_ENV, **(environment or {})}
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = os.pipe()
        os.set_blocking(self._wake_in, False)
        self._selector.register(self._wake_in, selectors.EVENT_READ, None)
        self._lock = threading.Lock()
        self._workers: list[LocalWorker] = []
        self._new: list[_Pipe] = []
        self._closed = False
        self._thread = threading.Thread(target=self._read, name="worker-pipes", daemon=True)
        self._thread.start()

    def start(self, spec: WorkerSpec) -> LocalWorker:
        """See `Runtime.start`. Kind and id are arguments only so that one sees in a list of processes which is which."""
        return self._adopt(spec, [sys.executable, "-m", "headwater.worker", str(os.getpid()), spec.kind, spec.id])

    def _adopt(self, spec: WorkerSpec, command: list[str]) -> LocalWorker:
        """Start `command` as the worker of an order."""
        try:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                start_new_session=True,
            )
        except OSError as error:
            return LocalWorker(spec, None, Exit("crashed", f"The {spec.kind} process could not be started: {error.strerror}."))
        worker = LocalWorker(spec, process)
        assert process.stdin is not None
        _write_order(process.stdin, spec)
        self._watch(worker)
        return worker

    def close(self) -> None:
        """See `Runtime.close`."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            workers = list(self._workers)
        for worker in workers:
            worker.kill()
        os.write(self._wake_out, b".")
        self._thread.join()
        self._selector.close()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _watch(self, worker: LocalWorker) -> None:
        assert worker.process is not None
        assert worker.process.stdout is not None
        assert worker.process.stderr is not None
        pipes = [_Pipe(worker, worker.process.stdout, False), _Pipe(worker, worker.process.stderr, True)]
        with self._lock:
            if self._closed:
                worker.process.kill()
                worker.reap()
                return
            self._workers.append(worker)
            self._new += pipes
        os.write(self._wake_out, b".")

    def _read(self) -> None:
        """The reading thread: until closed and every worker has been seen to its end."""
        while self._take_new() or not self._closed or self._workers:
            for key, _ in self._selector.select(LOOK_S):
                if key.data is None:
                    os.read(self._wake_in, 4096)
                else:
                    self._read_pipe(key.data)
            self._kill_silent()

    def _take_new(self) -> bool:
        with self._lock:
            new, self._new = self._new, []
        for pipe in new:
            os.set_blocking(pipe.file.fileno(), False)
            self._selector.register(pipe.file, selectors.EVENT_READ, pipe)
        return bool(new)

    def _read_pipe(self, pipe: _Pipe) -> None:
        if pipe.file.closed:
            return
        going_on, news = _take_lines(pipe)
        if not going_on:
            self._selector.unregister(pipe.file)
            if not pipe.is_log:
                self._end(pipe.worker)
        if news or not going_on:
            self.on_change()

    def _end(self, worker: LocalWorker) -> None:
        """Its standard output has ended. What it still has to say on the other pipe is heard before both are closed."""
        for key in list(self._selector.get_map().values()):
            if key.data is not None and key.data.worker is worker:
                self._selector.unregister(key.fileobj)
                _take_lines(key.data)
        worker.reap()
        with self._lock:
            self._workers.remove(worker)

    def _kill_silent(self) -> None:
        now = time.monotonic()
        for worker in list(self._workers):
            if now - worker.heard_at > SILENT_S:
                log.error("worker_silent", worker=worker.spec.kind, id=worker.spec.id, silent_s=round(now - worker.heard_at))
                worker.kill()


def _news(report: Report) -> tuple[object, ...]:
    """What of a report can't wait for the supervisor's next step: another state, another wish for a repair."""
    return report.state, report.ask if isinstance(report, VerifyReport) else None


def _write_order(pipe: IO[bytes], spec: WorkerSpec) -> None:
    """Hand an order over. A large one gets room in the pipe, if the kernel grants it: otherwise writing waits for the worker's imports."""
    line = order_line(spec)
    if len(line) > PIPE_BYTES_USUAL:
        with suppress(PermissionError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    try:
        pipe.write(line)
        pipe.flush()
    except BrokenPipeError:
        log.warning("worker_ended_at_once", worker=spec.kind, id=spec.id)


def _take_lines(pipe: _Pipe) -> tuple[bool, bool]:
    """Take what the pipe has now. First: False where it has ended (or a line is too long to be one of ours). Second: is there news."""
    news = False
    while True:
        try:
            data = os.read(pipe.file.fileno(), 1 << 16)
        except BlockingIOError:
            return True, news
        *lines, pipe.rest = (pipe.rest + data).split(b"\n")
        for line in lines:
            if pipe.is_log:
                _forward(pipe.worker.spec, line)
            else:
                news |= _hear(pipe.worker, line)
        if not data or len(pipe.rest) > LINE_MAX:
            return False, news


def _hear(worker: LocalWorker, line: bytes) -> bool:
    """Give a line to its worker's record. One that is none of ours ends the worker, and never the thread that reads for all."""
    try:
        return worker.heard(line)
    except (ValueError, TypeError, KeyError) as error:
        log.error("worker_unintelligible", worker=worker.spec.kind, id=worker.spec.id, error=type(error).__name__)
        worker.kill()
        return False


def _forward(spec: WorkerSpec, line: bytes) -> None:
    """Pass a worker's log line on with the worker's ids. Workers log JSON; anything else comes from the interpreter or a library."""
    try:
        entry = json.loads(line)
        event, level = str(entry.pop("event")), str(entry.pop("level", "info")).upper()
    except (ValueError, KeyError, AttributeError, TypeError):
        entry, event, level = {"text": line[:500].decode("utf-8", "replace")}, "worker_said", "WARNING"
    log.say(logging.getLevelNamesMapping().get(level, logging.INFO), event, **{**entry, "worker": spec.kind, "id": spec.id})


def _close(pipe: IO[bytes]) -> None:
    try:
        pipe.close()
    except BrokenPipeError:
        return  # what it still was to be told does not matter any more
