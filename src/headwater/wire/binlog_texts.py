"""Texts of whole columns: what `binlog_values` makes of one value, for many in one go. Of use uncompiled, where each call costs.

Each maker takes the values of a column as `struct` gives them by the column's `code`, and gives what the column's `convert` makes of them
one by one. A ValueError means that some value has to go that way, which then says what is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from headwater.wire.binlog_numbers import decimal_groups
from headwater.wire.binlog_values import DATE_KIND, DATETIME_KIND, DECIMAL_KIND, SIGNED_KIND, TIMESTAMP_KIND, UNSIGNED_KIND, Reading, civil

Texts = Callable[[Sequence[Any]], list[bytes]]

DAYS_MAX = 10_000
"""So many days are remembered with their texts."""

_INTEGERS = {1: "b", 2: "h", 4: "i", 8: "q"}
_number = int.from_bytes  # highest byte first
_SECONDS = [b"%02d" % second for second in range(64)]
_CLOCK = [b" %02d:%02d:" % (packed >> 6, packed & 63) for packed in range(32 * 64)]
"""Hour and minute, by 5 bits and 6."""


def code(reading: Reading) -> str:
    """How `struct` unpacks a value of the column; empty where its length is in front of it."""
    if reading.size < 0:
        return ""
    if reading.kind in (SIGNED_KIND, UNSIGNED_KIND) and reading.size in _INTEGERS:
        found = _INTEGERS[reading.size]
        return found if reading.kind == SIGNED_KIND else found.upper()
    return f"{reading.size}s"


def texts(reading: Reading) -> Texts:
    """What makes the texts of the column's values."""
    convert = reading.convert
    if convert is None:
        return list
    if reading.kind in (SIGNED_KIND, UNSIGNED_KIND) and reading.size in _INTEGERS:
        return _integers
    if reading.kind == DECIMAL_KIND:
        return _decimals(reading.extra >> 8, reading.extra & 255)
    if reading.kind == DATETIME_KIND:
        return _datetimes(reading.extra)
    if reading.kind == TIMESTAMP_KIND:
        return _timestamps(reading.extra)
    one = lru_cache(DAYS_MAX)(convert) if reading.kind == DATE_KIND else convert
    return lambda values: [one(value) for value in values]


def _integers(values: Sequence[int]) -> list[bytes]:
    return [b"%d" % value for value in values]


@lru_cache
def _decimals(precision: int, scale: int) -> Texts:
    """One expression for a value's groups of digits, made for this type alone: a loop over the groups would cost several times as much.
    The first bit tells the sign; all bytes of a negative one are inverted."""
    left, right = decimal_groups(precision, scale)
    widths = [width for _, width in left + right]
    plus, minus, fields = [], [], []
    for i, width in enumerate(widths):
        fields += [f"a{i}", f"b{i}"] if width == 3 else [f"a{i}"]
        value, top = f"(a{i} << 16 | b{i})" if width == 3 else f"a{i}", 1 << 8 * width - (i == 0)
        plus.append(value if i else f"{value} - {top}")
        minus.append(f"{top - 1} - {value}")
    sign = 1 << (0, 7, 15, 7, 31)[widths[0]]
    shown = f"{_shown('', plus, left, right)} if a0 >= {sign} else {_shown('-', minus, left, right)}"
    unpack = struct.Struct(">" + "".join(("", "B", "H", "BH", "I")[width] for width in widths)).iter_unpack
    made: Texts = eval(  # noqa: S307  of numbers alone
        f"lambda values: [{shown} for {', '.join(fields)}, in unpack(join(values))]", {"unpack": unpack, "join": b"".join}
    )
    return made


def _shown(sign: str, values: Sequence[str], left: Sequence[tuple[int, int]], right: Sequence[tuple[int, int]]) -> str:
    """The expression of a number's text: the first of its groups that is not zero without zeros in front, all behind it with them."""
    fraction = "." + "".join(f"%0{digits}d" for digits, _ in right) if right else ""
    if not left:
        return f"b'{sign}0{fraction}' % ({', '.join(values)},)"
    ways = []
    for i in range(len(left)):
        text = f"b'{sign}%d{'%09d' * (len(left) - i - 1)}{fraction}' % ({', '.join(values[i:])},)"
        ways.append(text if i == len(left) - 1 else f"{text} if {values[i]} else ")
    return f"({''.join(ways)})"


def _datetimes(digits: int) -> Texts:
    """See `binlog_values.datetime2`."""
    low, ones, unit, fraction = _fraction(digits)
    day, clock, size = low + 17, low + 6, 19 + (digits and digits + 1)
    form = b"%b%b%b" + fraction
    if not digits:
        return lambda values: _sized([form % (_day(p >> 17), _CLOCK[p >> 6 & 2047], _SECONDS[p & 63]) for p in map(_number, values)], size)
    return lambda values: _sized(
        [form % (_day(p >> day), _CLOCK[p >> clock & 2047], _SECONDS[p >> low & 63], (p & ones) // unit) for p in map(_number, values)],
        size,
    )


def _timestamps(digits: int) -> Texts:
    """See `binlog_values.timestamp2`."""
    low, ones, unit, fraction = _fraction(digits)
    form, size = b"%b" + fraction + b"+00", 22 + (digits and digits + 1)
    if not digits:
        return lambda values: [form % _instant(p) for p in map(_number, values)]
    return lambda values: _sized([form % (_instant(p >> low), (p & ones) // unit) for p in map(_number, values)], size)


def _fraction(digits: int) -> tuple[int, int, int, bytes]:
    """How a fraction of seconds stands in a time's lowest bits: how many these are, their mask, the unit, and its form as text."""
    low = 8 * ((digits + 1) >> 1)
    return low, (1 << low) - 1, 10 ** (digits & 1), b".%%0%dd" % digits if digits else b""


def _sized(texts: list[bytes], size: int) -> list[bytes]:
    """Texts, all of which have this size. Only what no server writes has more digits."""
    if len(b"".join(texts)) != len(texts) * size:
        raise ValueError("a time with more digits than there are")
    return texts


@lru_cache(DAYS_MAX)
def _day(packed: int) -> bytes:
    """A DATETIME's day: the sign, 17 bits for year and month, 5 for the day."""
    months = (packed >> 5) - (1 << 17)
    if months < 0:
        raise ValueError("a negative DATETIME")
    return b"%04d-%02d-%02d" % (months // 13, months % 13, packed & 31)


def _instant(seconds: int) -> bytes:
    """A TIMESTAMP's whole seconds; 0 stands for the zero date."""
    if not seconds:
        return b"0000-00-00 00:00:00"
    days, rest = divmod(seconds, 86_400)
    minutes, second = divmod(rest, 60)
    hour, minute = divmod(minutes, 60)
    return b"%b%b%b" % (_civil(days), _CLOCK[hour << 6 | minute], _SECONDS[second])


@lru_cache(DAYS_MAX)
def _civil(days: int) -> bytes:
    return b"%04d-%02d-%02d" % civil(days)
