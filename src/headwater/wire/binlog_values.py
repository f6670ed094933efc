"""The values of a row in a MySQL or MariaDB log, and their texts: for each column, how long its values are and what makes them text.

The texts are the common forms in which all sources hand out their values (decision 0002): see `docs/types.md`. The decoder has
quicker ways of its own to the texts of the commonest types when it is compiled; what is here is what they have to give.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from headwater.wire import binlog_charsets, binlog_json
from headwater.wire.binlog_events import ENUM, INFLATED_BYTES_MAX, SET, STRING, MapColumn, real_type
from headwater.wire.binlog_numbers import decimal, decimal_bytes, double_text

Convert = Callable[[bytes], bytes]

TINY, SHORT, LONG, FLOAT, DOUBLE, TIMESTAMP, LONGLONG, INT24, DATE = 1, 2, 3, 4, 5, 7, 8, 9, 10
TIME, DATETIME, YEAR, NEWDATE, VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2 = 11, 12, 13, 14, 15, 16, 17, 18, 19
BLOB_COMPRESSED, VARCHAR_COMPRESSED, VECTOR, JSON, NEWDECIMAL, BLOB, VAR_STRING, GEOMETRY = 140, 141, 242, 245, 246, 252, 253, 255
BLOBS = (249, 250, 251, 252)

OTHER_KIND, PLAIN_KIND, SIGNED_KIND, UNSIGNED_KIND, DECIMAL_KIND, DATETIME_KIND, TIMESTAMP_KIND, DATE_KIND = range(8)
"""What the compiled decoder has a quicker way for; PLAIN_KIND is text as it stands."""


class UnreadableColumn(ValueError):
    """A column whose values can't be read; the text says why."""


@dataclass(frozen=True)
class ColumnPlan:
    """What the decoder has to be told of a column. `charset` is MySQL's name, `binary` for bytes. `labels` of an ENUM or SET, as text.
    `form` is `uuid`, `inet4` or `inet6` for MariaDB's types of that name. `precision`: digits of the seconds' fraction, for the oldest
    forms of MariaDB's times, which the log does not tell."""

    charset: str = "utf8mb4"
    unsigned: bool = False
    labels: tuple[str, ...] = ()
    form: str = ""
    precision: int = 0


@dataclass(frozen=True)
class Reading:
    """How a column is read: `size` bytes, or, where that is -1, a length of `prefix` bytes and as many bytes as it says.

    `convert` makes the text; None: the bytes are it. `kind` and `extra` (the precision and scale of a decimal as precision * 256 +
    scale, the fraction's digits of a time) are for the quick ways."""

    size: int
    prefix: int
    convert: Convert | None
    kind: int = OTHER_KIND
    extra: int = 0
    partial: bool = False


def reading(column: MapColumn, plan: ColumnPlan) -> Reading:
    """How to read the column.

    Raises:
        UnreadableColumn: its type, or its character set, is not known.
    """
    kind, length = real_type(column.type, column.meta)
    if kind in _INTEGERS:
        signed = not plan.unsigned
        return Reading(_INTEGERS[kind], 0, integer(signed), SIGNED_KIND if signed else UNSIGNED_KIND)
    if kind in _FIXED:
        size, convert = _FIXED[kind]
        return Reading(size, 0, convert, DATE_KIND if kind in (DATE, NEWDATE) else OTHER_KIND)
    if kind == NEWDECIMAL:
        return _decimal_reading(length & 255, length >> 8)
    if kind in (TIMESTAMP2, DATETIME2, TIME2, TIMESTAMP, TIME, DATETIME):
        return _time_reading(kind, length, plan.precision)
    if kind == BIT:
        bits = (length & 255) + 8 * (length >> 8)
        return Reading((bits + 7) >> 3, 0, _bits(bits))
    if kind in (ENUM, SET):
        labels = tuple(label.encode() for label in plan.labels)
        return Reading(length & 255, 0, _enum(labels) if kind == ENUM else _set(labels))
    return _string_reading(kind, length, plan)


def _string_reading(kind: int, length: int, plan: ColumnPlan) -> Reading:
    if kind == JSON:
        return Reading(-1, _prefix(length), binlog_json.text, partial=True)
    if kind in (GEOMETRY, VECTOR):
        return Reading(-1, _prefix(length), hexed)
    if kind in (VARCHAR, VAR_STRING, VARCHAR_COMPRESSED) or kind == STRING:
        prefix = 2 if length > 255 else 1
    elif kind in BLOBS or kind == BLOB_COMPRESSED:
        prefix = _prefix(length)
    else:
        raise UnreadableColumn(f"the type {kind} is not known")
    if plan.form:
        return Reading(-1, prefix, _network(plan.form))
    convert = _text(plan.charset, length if kind == STRING else 0)
    if kind in (VARCHAR_COMPRESSED, BLOB_COMPRESSED):
        return Reading(-1, prefix, _unpacked(convert))
    return Reading(-1, prefix, convert, PLAIN_KIND if convert is None else OTHER_KIND)


def _prefix(length: int) -> int:
    if not 1 <= length <= 4:
        raise UnreadableColumn(f"a length of {length} bytes is not known")
    return length


def _text(charset: str, padded: int) -> Convert | None:
    if charset == "binary":
        return lambda value: b"\\x" + value.hex().encode() + b"00" * (padded - len(value)) if padded else hexed(value)
    try:
        return binlog_charsets.converter(charset)
    except binlog_charsets.UnknownCharset as error:
        raise UnreadableColumn(str(error)) from error


def hexed(value: bytes) -> bytes:
    """Bytes as text."""
    return b"\\x" + value.hex().encode()


def integer(signed: bool) -> Convert:
    """An integer of any width."""
    read = int.from_bytes
    return lambda value: b"%d" % read(value, "little", signed=signed)


_INTEGERS = {TINY: 1, SHORT: 2, INT24: 3, LONG: 4, LONGLONG: 8}


def _float(value: bytes) -> bytes:
    return double_text(struct.unpack("<f", value)[0])


def _double(value: bytes) -> bytes:
    return double_text(struct.unpack("<d", value)[0])


def _year(value: bytes) -> bytes:
    return b"%d" % (1900 + value[0]) if value[0] else b"0"


def date(value: bytes) -> bytes:
    """Three bytes: 15 bits for the year, 4 for the month, 5 for the day."""
    packed = int.from_bytes(value, "little")
    return b"%04d-%02d-%02d" % (packed >> 9, (packed >> 5) & 15, packed & 31)


_FIXED: dict[int, tuple[int, Convert]] = {
    FLOAT: (4, _float), DOUBLE: (8, _double), YEAR: (1, _year), DATE: (3, date), NEWDATE: (3, date),
}  # fmt: skip


def _decimal_reading(precision: int, scale: int) -> Reading:
    if not 0 < precision <= 65 or scale > min(precision, 38):
        raise UnreadableColumn(f"a DECIMAL({precision},{scale}) is not known")
    return Reading(decimal_bytes(precision, scale), 0, decimal(precision, scale), DECIMAL_KIND, precision << 8 | scale)


def _bits(count: int) -> Convert:
    return lambda value: f"{int.from_bytes(value, 'big'):0{count}b}".encode()


def _enum(labels: tuple[bytes, ...]) -> Convert:
    def convert(value: bytes) -> bytes:
        number = int.from_bytes(value, "little")
        if number > len(labels):
            raise ValueError(f"the value {number} of an ENUM of {len(labels)} labels")
        return labels[number - 1] if number else b""

    return convert


def _set(labels: tuple[bytes, ...]) -> Convert:
    def convert(value: bytes) -> bytes:
        number = int.from_bytes(value, "little")
        if number >> len(labels):
            raise ValueError(f"a value of a SET of {len(labels)} labels that has more of them")
        return b",".join([label for i, label in enumerate(labels) if number >> i & 1])

    return convert


def _fraction_bytes(digits: int) -> int:
    if digits > 6:
        raise UnreadableColumn(f"a fraction of {digits} digits is not known")
    return (digits + 1) >> 1


def _fraction(value: bytes, digits: int) -> bytes:
    """The digits behind the seconds, with their point; stored in pairs of digits."""
    if not digits:
        return b""
    return b"." + (b"%0*d" % (2 * len(value), int.from_bytes(value, "big")))[:digits]


def _time_reading(kind: int, digits: int, old_digits: int) -> Reading:
    if kind == DATETIME2:
        return Reading(5 + _fraction_bytes(digits), 0, datetime2(digits), DATETIME_KIND, digits)
    if kind == TIMESTAMP2:
        return Reading(4 + _fraction_bytes(digits), 0, timestamp2(digits), TIMESTAMP_KIND, digits)
    if kind == TIME2:
        return Reading(3 + _fraction_bytes(digits), 0, time2(digits))
    _fraction_bytes(old_digits)
    if kind == TIMESTAMP:
        return Reading(4 + (0, 1, 1, 2, 2, 3, 3)[old_digits], 0, _old_timestamp(old_digits))
    if kind == DATETIME:
        return Reading((8, 6, 6, 7, 7, 7, 8)[old_digits], 0, _hires_datetime(old_digits) if old_digits else _old_datetime)
    return Reading((3, 4, 4, 5, 5, 5, 6)[old_digits], 0, _hires_time(old_digits) if old_digits else _old_time)


def datetime2(digits: int) -> Convert:
    """17 bits for year and month, 5 for the day, 5 + 6 + 6 for the time, from the highest bit on; then the fraction."""

    def convert(value: bytes) -> bytes:
        packed = int.from_bytes(value[:5], "big") - 0x8000000000
        if packed < 0:
            raise ValueError("a negative DATETIME")
        months, day = packed >> 22, (packed >> 17) & 31
        shown = (months // 13, months % 13, day, (packed >> 12) & 31, (packed >> 6) & 63, packed & 63)
        return b"%04d-%02d-%02d %02d:%02d:%02d" % shown + _fraction(value[5:], digits)

    return convert


def timestamp2(digits: int) -> Convert:
    """Seconds since 1970; 0 stands for the zero date."""
    return lambda value: _instant(int.from_bytes(value[:4], "big"), _fraction(value[4:], digits))


def _instant(seconds: int, fraction: bytes) -> bytes:
    if not seconds:
        return b"0000-00-00 00:00:00" + fraction + b"+00"
    days, rest = divmod(seconds, 86_400)
    return b"%04d-%02d-%02d" % civil(days) + b" %02d:%02d:%02d" % (rest // 3600, rest // 60 % 60, rest % 60) + fraction + b"+00"


def civil(days: int) -> tuple[int, int, int]:
    """(year, month, day) so many days after 1970-01-01, by counting in eras of 400 years that begin in March."""
    era, day = divmod(days + 719_468, 146_097)
    year = (day - day // 1460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153
    return year + era * 400 + (month > 9), month + 3 if month < 10 else month - 9, day - (153 * month + 2) // 5 + 1


def time2(digits: int) -> Convert:
    """10 bits for the hours, 6 + 6 for minutes and seconds, then the fraction: one number, below the middle where it is negative."""
    width = _fraction_bytes(digits)
    middle = 1 << (23 + 8 * width)

    def convert(value: bytes) -> bytes:
        packed = int.from_bytes(value, "big") - middle
        sign, packed = (b"-", -packed) if packed < 0 else (b"", packed)
        whole = packed >> (8 * width)
        fraction = (packed & ((1 << 8 * width) - 1)).to_bytes(width, "big")
        return b"%s%02d:%02d:%02d" % (sign, (whole >> 12) & 1023, (whole >> 6) & 63, whole & 63) + _fraction(fraction, digits)

    return convert


def _old_datetime(value: bytes) -> bytes:
    packed = int.from_bytes(value, "little")
    day, time = divmod(packed, 1_000_000)
    shown = (day // 10_000, day // 100 % 100, day % 100, time // 10_000, time // 100 % 100, time % 100)
    return b"%04d-%02d-%02d %02d:%02d:%02d" % shown


def _old_time(value: bytes) -> bytes:
    packed = int.from_bytes(value, "little", signed=True)
    sign, packed = (b"-", -packed) if packed < 0 else (b"", packed)
    return b"%s%02d:%02d:%02d" % (sign, packed // 10_000, packed // 100 % 100, packed % 100)


def _old_timestamp(digits: int) -> Convert:
    """MariaDB's own form, with its fraction as a plain number."""

    def convert(value: bytes) -> bytes:
        if not digits:
            return _instant(int.from_bytes(value, "little"), b"")
        return _instant(int.from_bytes(value[:4], "big"), b".%0*d" % (digits, int.from_bytes(value[4:], "big")))

    return convert


def _microseconds(packed: int, digits: int) -> tuple[int, bytes]:
    """(whole seconds, the fraction's text) of one of MariaDB's packed times in units of its precision."""
    seconds, rest = divmod(packed, 10**digits)
    return seconds, b".%0*d" % (digits, rest)


def _hires_datetime(digits: int) -> Convert:
    def convert(value: bytes) -> bytes:
        seconds, fraction = _microseconds(int.from_bytes(value, "big"), digits)
        days, rest = divmod(seconds, 86_400)
        months, day = divmod(days, 32)
        shown = (months // 13, months % 13, day, rest // 3600, rest // 60 % 60, rest % 60)
        return b"%04d-%02d-%02d %02d:%02d:%02d" % shown + fraction

    return convert


def _hires_time(digits: int) -> Convert:
    middle = (838 * 3600 + 59 * 60 + 60) * 10**digits

    def convert(value: bytes) -> bytes:
        packed = int.from_bytes(value, "big") - middle
        sign, packed = (b"-", -packed) if packed < 0 else (b"", packed)
        seconds, fraction = _microseconds(packed, digits)
        return b"%s%02d:%02d:%02d" % (sign, seconds // 3600, seconds // 60 % 60, seconds % 60) + fraction

    return convert


def _unpacked(convert: Convert | None) -> Convert:
    """MariaDB's compressed columns: a byte with the method (0: none, 8: zlib) in its upper half and the width of a length below."""

    def unpack(value: bytes) -> bytes:
        found = inflated(value)
        return convert(found) if convert else found

    return unpack


def inflated(value: bytes) -> bytes:
    """The bytes of a compressed column's value."""
    if not value:
        return value
    method, width = value[0] >> 4, value[0] & 7
    if method == 0:
        return value[1:]
    size = int.from_bytes(value[1 : 1 + width], "big")
    if method != 8 or size > INFLATED_BYTES_MAX:
        raise ValueError("a compressed value that can't be unpacked")
    unpacking = zlib.decompressobj(-15 if value[0] & 8 else 15)
    found = unpacking.decompress(value[1 + width :], size + 1)
    if len(found) != size:
        raise ValueError("a compressed value that can't be unpacked")
    return found


def _uuid(value: bytes) -> bytes:
    text = value.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:])).encode()


def _inet6(value: bytes) -> bytes:
    """As the server prints it: the longest run of zeros as `::`, and the last four bytes as those of IPv4 where they are one."""
    groups = [f"{value[i] << 8 | value[i + 1]:x}" for i in range(0, 16, 2)]
    start, size = max(((i, _zeros(groups, i)) for i in range(8)), key=lambda run: (run[1], -run[0]))
    if start == 0 and (size == 6 or (size == 5 and groups[5] == "ffff")):
        front = "::" if size == 6 else "::ffff:"
        return f"{front}{'.'.join(map(str, value[12:]))}".encode()
    if size < 2:
        return ":".join(groups).encode()
    return f"{':'.join(groups[:start])}::{':'.join(groups[start + size :])}".encode()


def _zeros(groups: list[str], start: int) -> int:
    return next((i for i, group in enumerate(groups[start:]) if group != "0"), 8 - start)


_NETWORK: dict[str, tuple[int, Convert]] = {
    "uuid": (16, _uuid),
    "inet4": (4, lambda value: ".".join(map(str, value)).encode()),
    "inet6": (16, _inet6),
}


def _network(form: str) -> Convert:
    """MariaDB's types with a text of their own; like BINARY, they come without the zeros at their end."""
    if form not in _NETWORK:
        raise UnreadableColumn(f"the form {form} is not known")
    size, convert = _NETWORK[form]

    def padded(value: bytes) -> bytes:
        if len(value) > size:
            raise ValueError(f"{len(value)} bytes as {form}")
        return convert(value.ljust(size, b"\0"))

    return padded
