"""From the driver's errors and the server's warnings to ours. Nothing that could hold a row's values gets through.

The texts of these servers quote values, so what refuses a row is told by the error's number in our words, with the names of column and
key where they are names that we know. The driver's error is never chained, because a logged chain would show it whole.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from pymysql.err import Error

from headwater.dialects.mysql_errors import UNAVAILABLE, message_of, number_of, refuses
from headwater.dialects.mysql_session import Server
from headwater.domain.errors import HeadwaterError, RowRefused, TargetError

DUPLICATE = frozenset({1062, 1586, 1761, 1859})
"""A second row with the values of a unique key."""

ROWS: dict[int, str] = {
    **dict.fromkeys(DUPLICATE, "a second row with the same values of a unique key"),
    **dict.fromkeys((1048, 1263, 1364), "a value is missing where there must be one"),
    **dict.fromkeys((1264, 1690, 167), "a number or time is out of range"),
    **dict.fromkeys((1265, 1292, 1366, 1411, 1525, 1918, 1300, 3140, 3141, 3144, 4038), "a value that the column's type does not take"),
    **dict.fromkeys((1406, 1118, 1301), "a value is too long"),
    **dict.fromkeys((3819, 4025), "a check constraint does not hold"),
    **dict.fromkeys((1416, 3037, 3643, 3617), "a value that is no geometry, or one with another reference system"),
    **dict.fromkeys((1452, 1451, 1216, 1217), "a foreign key does not hold"),
    **dict.fromkeys((1526, 1748), "no partition takes the row"),
    **dict.fromkeys((1261, 1262), "a row with another number of values than columns"),
    1644: "a trigger refuses the row",
}
"""What each error or warning says about a row."""

FULL = frozenset({3, 20, 1021, 1026, 1114, 1015, 3019})
"""Of these 3, 20 and 1026 tell that a file could not be written, for example that of the server's own log."""
NO_SPACE = re.compile(r"\berror 28\b")
"""How 1030 tells it, of whatever an engine says."""
READ_ONLY = frozenset({1290, 1792, 1836, 3989})
PACKET_TOO_LARGE = 1153
TOO_LARGE = frozenset({PACKET_TOO_LARGE, 1162})

TIMES_OUT = frozenset({1205, 1213, 3024, 1969})

NAMES_OBJECTS = frozenset({1005, 1036, 1050, 1051, 1054, 1060, 1091, 1099, 1113, 1305, 1356, 1442, 1785, 1845, 1846, 3780})
"""Errors besides those that both sides know whose texts name objects, and never values."""

_COLUMN = re.compile(r"column (?:`(?:[^`]|``)*`\.)*[`'](?P<column>(?:[^`']|``|'')+)[`'](?: at row \d+)?$")
_KEY = re.compile(r"for key '(?:[^']*\.)?(?P<key>[^'.]+)'$")


def cannot_connect(server: Server, error: Error) -> TargetError:
    """Why a connection could not be made."""
    kind = "target_refused" if refuses(error) else "target_unavailable"
    return TargetError(f"Can't connect to the target {server}: {message_of(error)}", kind=kind)


def translate(error: Error, doing: str, names: Collection[str] = ()) -> HeadwaterError:
    """Our error for a driver's error that came up while `doing` (a phrase such as "writing to shop.t")."""
    number = number_of(error)
    text = str(error.args[1]) if len(error.args) > 1 else ""
    if number == 0 or 2000 <= number < 3000:
        return TargetError(f"The connection to the target was lost while {doing}.")
    if number in ROWS:
        return refused(doing, number, text, names)
    if number in READ_ONLY:
        return TargetError(f"The target can only be read while {doing} (error {number}). It is tried again.")
    if number in FULL or (number == 1030 and NO_SPACE.search(text)):
        return TargetError(f"The target has no room left while {doing} (error {number}). It is tried again.")
    if number in TOO_LARGE:
        return RowRefused(
            f"The target refused {doing}: a row is larger than its max_allowed_packet (error {number}). Raise that, or set local_infile "
            "= ON there: then rows don't travel in statements. Bytes need twice their size in a statement."
        )
    if number in UNAVAILABLE or number in TIMES_OUT:
        return TargetError(f"The target gave up while {doing} (error {number}). It is tried again.")
    said = f"{text} (error {number})" if number in NAMES_OBJECTS else message_of(error)
    return TargetError(f"The target refused {doing}: {said}.", kind="target_refused")


def refused(doing: str, number: int, text: str, names: Collection[str]) -> RowRefused:
    """A row is refused for what it holds; the server's text is looked at for names only, and only for names that we know."""
    what = ROWS.get(number, "a row does not fit")
    column, key = _COLUMN.search(text), _KEY.search(text)
    place = f" in column {column['column']}" if column and column["column"] in names else ""
    if not place and key and key["key"] in names:
        place = f" (key {key['key']})"
    if number in DUPLICATE:
        repair = "Make target and source agree on what is unique, or remove the key at the target."
    elif number == 1301:
        repair = "Raise max_allowed_packet at the target, or make its column take every value that the source has."
    elif number in (3819, 4025, 1452, 1451, 1644):
        repair = "Make target and source agree on it, or remove it at the target."
    else:
        repair = "Make the target's column take every value that the source has."
    return RowRefused(f"The target refused {doing}: {what}{place} (error {number}). {repair}")
