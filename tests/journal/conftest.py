"""Journals that are closed after the test, whatever it does to them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from headwater.journal import EmbeddedJournalReader, EmbeddedJournalWriter, open_reader, open_writer


class Journals:
    """Opens writers and readers; by default in one directory."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self._stack = stack

    def writer(self, directory: Path | None = None) -> EmbeddedJournalWriter:
        """A writer."""
        writer = open_writer(directory or self.directory)
        self._stack.callback(writer.close)
        return writer

    def reader(self, directory: Path | None = None) -> EmbeddedJournalReader:
        """A reader."""
        reader = open_reader(directory or self.directory)
        self._stack.callback(reader.close)
        return reader


@pytest.fixture
def journals(tmp_path: Path) -> Iterator[Journals]:
    """See `Journals`; the directory is `tmp_path`."""
    with ExitStack() as stack:
        yield Journals(tmp_path, stack)
