"""Readers in other processes sleep without cost, and wake when something comes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headwater.journal import wakeups
from headwater.ports.journal import JournalEnd
from tests.journal import histories
from tests.journal.conftest import Journals

ROOT = Path(__file__).parents[2]
READING = """
import resource, sys
from pathlib import Path
from headwater.journal import open_reader
reader = open_reader(Path(sys.argv[1]))
print("ready", flush=True)
woken = reader.wait(reader.end().next_offset, 60)
print(woken, sum(p.frame.transactions.num_rows for p in reader.read(0)), flush=True)
reader.close()
"""


def reading(directory: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    return subprocess.Popen([sys.executable, "-c", READING, str(directory)], stdout=subprocess.PIPE, text=True, env=environment)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def sleepers(directory: Path) -> list[str]:
    return os.listdir(directory / wakeups.DIRECTORY)


@pytest.mark.parametrize("name", ["short", "d" * 120], ids=["short path", "path beyond the limit of sockets"])
def test_sleeping_processes_are_woken_and_read_what_came(
    journals: Journals, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / name
    writer = journals.writer(directory)
    monkeypatch.setattr(wakeups, "LOOK_S", 3600)
    processes = [reading(directory) for _ in range(3)]
    try:
        assert [p.stdout.readline() for p in processes if p.stdout] == ["ready\n"] * 3
        until(lambda: len(sleepers(directory)) == 3)
        writer.append([histories.whole([0, 1])], "p", 1)
        assert [p.communicate(timeout=30)[0] for p in processes] == ["True 2\n"] * 3
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert sleepers(directory) == []


def test_the_bell_alone_wakes_a_sleeper(journals: Journals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without looking for itself a sleeper still wakes: the byte arrives."""
    monkeypatch.setattr(wakeups, "LOOK_S", 3600)
    writer = journals.writer()
    bell = wakeups.Bell(tmp_path)
    ear = wakeups.Ear(tmp_path)
    looks: list[int] = []

    def come() -> bool:
        looks.append(1)
        if len(looks) == 1:
            bell.ring()
        return len(looks) == 2

    assert ear.sleep_until(come, 60)
    assert len(looks) == 2
    ear.close()
    bell.close()
    writer.close()


def test_an_idle_sleeper_does_not_use_the_processor(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, reader = journals.writer(), journals.reader()
    looks = []
    end = reader.end

    def look() -> JournalEnd:
        looks.append(1)
        return end()

    monkeypatch.setattr(reader, "end", look)
    assert reader.wait(writer.end().next_offset, 0.3) is False
    assert len(looks) <= 3  # when it lies down, when the time is up; once more where the clock of poll is early


def test_sockets_of_the_dead_are_removed(journals: Journals, tmp_path: Path) -> None:
    writer = journals.writer()
    process = reading(tmp_path)
    assert process.stdout is not None
    process.stdout.readline()
    until(lambda: len(sleepers(tmp_path)) == 1)
    process.kill()
    process.communicate()
    writer.append([histories.whole([0])], "p", 1)
    assert sleepers(tmp_path) == []


def test_a_sleeper_that_does_not_listen_does_not_stop_the_writer(journals: Journals, tmp_path: Path) -> None:
    writer, reader = journals.writer(), journals.reader()
    reader.wait(0, 0)  # binds, and never looks again
    assert len(sleepers(tmp_path)) == 1
    for offset in range(2_000):
        writer.append([], f"{offset}", offset)
    writer.append([histories.whole([0])], "p", 1)
    assert reader.wait(0, 30)


def test_without_sockets_a_reader_looks_for_itself(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "no sockets here")

    writer, reader = journals.writer(), journals.reader()
    monkeypatch.setattr("socket.socket.bind", refuse, raising=False)
    assert reader.wait(0, 0.01) is False
    writer.append([histories.whole([0])], "p", 1)
    assert reader.wait(0, 30)
