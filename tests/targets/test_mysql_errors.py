"""What errors of a MariaDB or MySQL target are to a task: what passes is tried again, and no text that may hold values is passed on."""

from __future__ import annotations

import pytest
from pymysql.err import OperationalError

from headwater.targets.mysql.errors import translate

NO_SPACE = '(Errcode: 28 "No space left on device")'


@pytest.mark.parametrize(
    "error",
    [
        (3, f"Error writing file './binlog' {NO_SPACE}"),  # seen on MariaDB at a commit
        (1026, f"Error writing file '/tmp/x' {NO_SPACE}"),
        (1021, f"Disk full (/tmp/x); waiting for someone to free some space... {NO_SPACE}"),
        (1030, 'Got error 28 "No space left on device" from storage engine InnoDB'),
        (1114, "The table 't' is full"),
    ],
    ids=lambda error: str(error[0]),
)
def test_a_full_disk_is_tried_again(error: tuple[int, str]) -> None:
    found = translate(OperationalError(*error), "writing to shop.t")
    assert found.kind == "target_unavailable"
    assert "has no room left while writing to shop.t" in str(found)
    assert error[1] not in str(found)


def test_what_else_an_engine_says_stops() -> None:
    assert translate(OperationalError(1030, "Got error 1 from storage engine"), "writing to shop.t").kind == "target_refused"
