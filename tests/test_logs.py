"""Logging: one shape for our entries and those of libraries, and no text of an error that may hold row values."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Literal

import pytest
import structlog

from headwater import logs
from headwater.domain.errors import SourceError


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_our_entries_and_those_of_libraries_have_one_shape(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    structlog.get_logger("ours").info("task_started", task="t1")
    logging.getLogger("theirs").warning("worker_failed", extra={"fields": {"worker": "w1"}})
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["level"], ours["logger"], ours["task"]) == ("task_started", "info", "ours", "t1")
    assert (theirs["event"], theirs["level"], theirs["worker"]) == ("worker_failed", "warning", "w1")
    assert ours["time"].endswith("Z")


@pytest.mark.parametrize("shape", ["json", "console"])
def test_the_text_of_a_foreign_error_is_left_out(capsys: pytest.CaptureFixture[str], shape: Literal["json", "console"]) -> None:
    logs.configure("info", shape)
    row = "4711-a-row-value"
    try:
        raise RuntimeError(f"DETAIL: {row}")
    except RuntimeError:
        structlog.get_logger("ours").exception("it_failed")
        logging.getLogger("theirs").exception("it_failed")
    told = capsys.readouterr().err
    assert told.count("RuntimeError") == 2
    assert "test_logs.py" in told
    assert row not in told


def test_the_text_of_our_own_error_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    try:
        raise SourceError("The slot is gone.")
    except SourceError:
        structlog.get_logger("ours").exception("it_failed")
    assert json.loads(capsys.readouterr().err)["message"] == "The slot is gone."


def test_less_important_entries_are_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "json")
    structlog.get_logger("ours").info("quiet")
    assert capsys.readouterr().err == ""
