"""Servers that know locales in which money is written differently. They are compiled here, since a small machine has none but C."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from headwater.clusters import Installation, PrivatePostgres

LOCALES = ("de_DE", "ja_JP")
"""A point where others have a comma; money without decimals."""

Servers = Callable[[Installation], PrivatePostgres]


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The private server of an installation, with `LOCALES` where they can be made here. Shared by the tests of this directory."""
    running: dict[Installation, PrivatePostgres] = {}
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="locales-")))
        directory.chmod(0o755)  # the server may run under another account
        _compile(directory)

        def get(installation: Installation) -> PrivatePostgres:
            if installation not in running:
                with pytest.MonkeyPatch.context() as environment:
                    environment.setenv("LOCPATH", str(directory))
                    running[installation] = stack.enter_context(PrivatePostgres(installation))
            return running[installation]

        yield get


def _compile(directory: Path) -> None:
    with suppress(FileNotFoundError):
        for name in LOCALES:
            subprocess.run(["localedef", "-i", name, "-f", "UTF-8", directory / f"{name}.utf8"], check=False, capture_output=True)
