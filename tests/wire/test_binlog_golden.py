"""The decoder on bytes that servers of several versions have written (`golden/`), without a server: each version says the same (P8)."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from headwater.wire.binlog_events import FormatDescription
from tests import binlogs
from tests.wire import golden
from tests.wire.decoder_forms import both

INSERT, UPDATE, DELETE, _, KEY_OLD, KEY_NEW = range(1, 7)
FILES = sorted(golden.HOME.glob("*.txt"))

FULL = (
    b"18446744073709551615", b"-5", b"-12345.67890", b"1.5", b"0.1", "Grüße \U0001f600".encode(), "déjà".encode(), b"\\x00ff5c09",
    b"1000000001", b"2024-02-29", b"2024-02-29 23:59:59.999999", b"2024-02-29 12:00:00.125+00", b"-99:59:59.25", b"1999", b"green", b"a,c",
)  # fmt: skip


def row(id: int, columns: int = 16, **values: bytes) -> tuple[bytes | None, ...]:
    """A row of which only these columns are not null."""
    names = ("id", "a", "d", "f", "e", "v", "l", "y", "n", "dd")
    return tuple(str(id).encode() if name == "id" else values.get(name) for name in names) + (None,) * (columns - len(names))


CHANGES = [
    (INSERT, FULL),
    (INSERT, row(2)),
    (UPDATE, row(2, v=b"ha", a=b"7")),
    (KEY_OLD, row(2)),
    (KEY_NEW, row(3, v=b"ha", a=b"7")),
    (INSERT, row(4, v=b"long " * 50)),
    (DELETE, row(3)),
    (INSERT, row(5, 15, dd=b"2024-01-31")),
    (INSERT, row(6, 15, v=b"short " * 40)),
]


@pytest.mark.parametrize("form", both("binlog"), ids=lambda form: form.__name__)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_version_tells_the_same_history_p8(path: Path, form: ModuleType) -> None:
    read = binlogs.read(form, golden.load(path), binlogs.planner_of(golden.CHARSETS))
    assert read.error == ""
    assert read.changes() == CHANGES
    assert [count for _, _, count in read.transactions] == [2, 1, 2, 2, 1]  # without the one that was prepared, which is put aside
    assert read.queries() == ["ALTER TABLE g DROP COLUMN yr", "XA COMMIT X'78',X'',1", "TRUNCATE g"]
    (said,) = {notice.server_version for notice in read.notices if isinstance(notice, FormatDescription)}
    assert path.stem.removeprefix("mariadb").removeprefix("mysql") in said


def test_there_are_recordings_of_both_flavours() -> None:
    assert {"mariadb10.5", "mariadb10.11", "mariadb11.8", "mysql9.7"} <= {path.stem for path in FILES}
