"""MySQL's binary JSON: to the text that the server prints, and the partial updates that a log may hold.

The layout is that of MySQL's `sql-common/json_binary.h`: a type byte, then for objects and arrays a table of entries whose offsets count
from the first byte behind the type. The text is that of `json_dom.cc`: a blank behind each comma and colon, keys in stored order.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headwater.wire.binlog_numbers import decimal, decimal_bytes, double_text

DEPTH_MAX = 100
"""As deep as the server itself lets documents be."""

SMALL_OBJECT, LARGE_OBJECT, SMALL_ARRAY, LARGE_ARRAY, LITERAL = 0, 1, 2, 3, 4
INT16, UINT16, INT32, UINT32, INT64, UINT64, DOUBLE, STRING, OPAQUE = 5, 6, 7, 8, 9, 10, 11, 12, 15

_NUMBERS = {INT16: "<h", UINT16: "<H", INT32: "<i", UINT32: "<I", INT64: "<q", UINT64: "<Q"}
_LITERALS = {0: None, 1: True, 2: False}
_INLINE = {False: (LITERAL, INT16, UINT16), True: (LITERAL, INT16, UINT16, INT32, UINT32)}

REPLACE, INSERT, REMOVE = 0, 1, 2


class JsonError(ValueError):
    """Bytes that are no document, or a partial update that does not fit its document."""


@dataclass(frozen=True)
class Raw:
    """A value that is printed as it stands: a number that Python would round, or a date, which is printed in quotes."""

    text: str


def text(data: bytes) -> bytes:
    """The document as the server prints it. A document of no bytes, which old servers wrote, is `null`.

    Raises:
        JsonError: these bytes are no document.
    """
    return printed(document(data)).encode()


def document(data: bytes) -> Any:
    """The document as dicts, lists, strings, integers, None, booleans, floats and `Raw`."""
    return _Reading(len(data)).value(data[0], memoryview(data)[1:], 0, 0) if data else None


class _Reading:
    """Reads one document. All values have bytes of their own, so their sizes come to no more than the document's: a document whose
    entries share what they point to would grow without end."""

    def __init__(self, size: int) -> None:
        self._left = size

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise JsonError("values that share their bytes")

    def value(self, kind: int, data: memoryview, at: int, depth: int) -> Any:
        """The value of type `kind` whose bytes begin at `at`."""
        if kind <= LARGE_ARRAY:
            return self._container(kind, data, at, depth)
        if kind in _NUMBERS:
            form = _NUMBERS[kind]
            return struct.unpack(form, _part(data, at, struct.calcsize(form)))[0]
        if kind == LITERAL:
            return _literal(_part(data, at, 1)[0])
        if kind == DOUBLE:
            return struct.unpack("<d", _part(data, at, 8))[0]
        if kind == STRING:
            size, at = _variable(data, at)
            return self._string(_part(data, at, size))
        if kind == OPAQUE:
            inner = _part(data, at, 1)[0]
            size, at = _variable(data, at + 1)
            self._spend(size)
            return _opaque(inner, bytes(_part(data, at, size)))
        raise JsonError(f"an unknown type {kind}")

    def _string(self, data: memoryview) -> str:
        self._spend(len(data))
        return _utf8(data)

    def _container(self, kind: int, data: memoryview, at: int, depth: int) -> Any:
        """An object or array: count, size, (for objects) the keys' entries, the values' entries, then all that they point to."""
        if depth >= DEPTH_MAX:
            raise JsonError(f"more than {DEPTH_MAX} levels")
        width = 4 if kind in (LARGE_OBJECT, LARGE_ARRAY) else 2
        count, size = _uint(_part(data, at, width)), _uint(_part(data, at + width, width))
        inside = _part(data, at, size)
        has_keys = kind in (SMALL_OBJECT, LARGE_OBJECT)
        entries = 2 * width + (count * (width + 2) if has_keys else 0)
        if entries + count * (width + 1) > size:
            raise JsonError(f"{count} entries in {size} bytes")
        self._spend(count * (width + 1))
        found = [self._entry(inside, entries + i * (width + 1), width, depth) for i in range(count)]
        return dict(zip(self._keys(inside, 2 * width, width, count), found, strict=True)) if has_keys else found

    def _keys(self, inside: memoryview, at: int, width: int, count: int) -> Iterator[str]:
        for entry in range(at, at + count * (width + 2), width + 2):
            size = _uint(inside[entry + width : entry + width + 2])
            yield self._string(_part(inside, _uint(inside[entry : entry + width]), size))

    def _entry(self, inside: memoryview, at: int, width: int, depth: int) -> Any:
        """A value's entry: its type, then the value itself where it is small enough, or where it stands."""
        kind = inside[at]
        if kind in _INLINE[width == 4]:
            return self.value(kind, inside, at + 1, depth)
        start = _uint(inside[at + 1 : at + 1 + width])
        if start <= 0 or start >= len(inside):
            raise JsonError(f"a value at {start} of {len(inside)} bytes")
        return self.value(kind, inside, start, depth + 1)


def _part(data: memoryview, at: int, size: int) -> memoryview:
    if at < 0 or size > len(data) - at:
        raise JsonError(f"{size} bytes wanted at {at} of {len(data)}")
    return data[at : at + size]


def _uint(data: memoryview) -> int:
    return int.from_bytes(data, "little")


def _literal(number: int) -> bool | None:
    if number not in _LITERALS:
        raise JsonError(f"an unknown literal {number}")
    return _LITERALS[number]


def _utf8(data: memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise JsonError("a string that is not UTF-8") from error


def _variable(data: memoryview, at: int) -> tuple[int, int]:
    """A length in groups of seven bits, and where it ends."""
    size = 0
    for shift in range(0, 35, 7):
        byte = _part(data, at, 1)[0]
        at += 1
        size |= (byte & 127) << shift
        if not byte & 128:
            return size, at
    raise JsonError("a length without its end")


def _opaque(kind: int, data: bytes) -> Any:
    """A value of one of MySQL's own types."""
    if kind == 246:
        if len(data) < 2:
            raise JsonError("a decimal without its precision")
        precision, scale = data[0], data[1]
        if not 0 < precision <= 65 or scale > min(30, precision) or decimal_bytes(precision, scale) != len(data) - 2:
            raise JsonError(f"a decimal({precision},{scale}) of {len(data) - 2} bytes")
        return Raw(decimal(precision, scale)(data[2:]).decode())
    if kind in (7, 10, 11, 12) and len(data) == 8:
        return Raw(f'"{_packed_time(kind, int.from_bytes(data, "little", signed=True))}"')
    return f"base64:type{kind}:{base64.b64encode(data).decode()}"


def _packed_time(kind: int, packed: int) -> str:
    """A date, time or datetime as the server packs it: day bits, 17 bits for the time, 24 for microseconds."""
    sign, packed = ("-", -packed) if packed < 0 else ("", packed)
    whole, fraction = packed >> 24, packed & 0xFFFFFF
    minute, second = (whole >> 6) & 63, whole & 63
    if kind == 11:
        return f"{sign}{(whole >> 12) & 1023:02d}:{minute:02d}:{second:02d}.{fraction:06d}"
    months, day = whole >> 22, (whole >> 17) & 31
    date = f"{months // 13:04d}-{months % 13:02d}-{day:02d}"
    return date if kind == 10 else f"{date} {(whole >> 12) & 31:02d}:{minute:02d}:{second:02d}.{fraction:06d}"


_ESCAPES = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPES |= {chr(code): f"\\u{code:04x}" for code in range(32) if chr(code) not in _ESCAPES}
_ESCAPING = str.maketrans(_ESCAPES)


def printed(value: Any) -> str:
    """The text of a document."""
    pieces: list[str] = []
    _print(value, pieces)
    return "".join(pieces)


def _print(value: Any, out: list[str]) -> None:
    if isinstance(value, str):
        out.append(f'"{value.translate(_ESCAPING)}"')
    elif isinstance(value, dict):
        _print_all(value.items(), out, "{}")
    elif isinstance(value, list):
        _print_all(value, out, "[]")
    elif isinstance(value, Raw):
        out.append(value.text)
    elif isinstance(value, float):
        out.append(_double(value))
    else:
        out.append(json.dumps(value))


def _print_all(items: Any, out: list[str], marks: str) -> None:
    out.append(marks[0])
    for i, item in enumerate(items):
        if i:
            out.append(", ")
        if marks == "{}":
            out.append(f'"{item[0].translate(_ESCAPING)}": ')
            item = item[1]  # noqa: PLW2901
        _print(item, out)
    out.append(marks[1])


def _double(value: float) -> str:
    """As a DOUBLE column's, but one that looks like an integer gets `.0`, so that it is read as a double again."""
    shown = double_text(value).decode()
    return shown if "." in shown or "e" in shown else shown + ".0"


def patched(before: bytes, diffs: bytes) -> bytes:
    """The document behind a partial update: each step replaces, inserts or removes the value at a path.

    Raises:
        JsonError: the steps do not fit the document.
    """
    whole: Any = document(before)
    at, steps = 0, memoryview(diffs)
    while at < len(steps):
        operation = steps[at]
        size, at = _packed(steps, at + 1)
        path = list(_legs(_utf8(_part(steps, at, size))))
        at += size
        value = None
        if operation != REMOVE:
            size, at = _packed(steps, at)
            value = document(bytes(_part(steps, at, size)))
            at += size
        whole = _apply(whole, operation, path, value)
    return printed(whole).encode()


def _packed(data: memoryview, at: int) -> tuple[int, int]:
    """A length as the protocol writes it, and where it ends."""
    first = _part(data, at, 1)[0]
    if first < 251:
        return first, at + 1
    width = {252: 2, 253: 3, 254: 8}.get(first)
    if width is None:
        raise JsonError(f"a length that begins with {first}")
    return _uint(_part(data, at + 1, width)), at + 1 + width


def _legs(path: str) -> Iterator[str | int]:
    """The legs of `$.name."quoted name"[3]`, with or without its `$`."""
    at = 1 if path.startswith("$") else 0
    while at < len(path):
        if path[at] == "[":
            end = path.find("]", at)
            if not path[at + 1 : end].isdecimal():
                raise JsonError("a path with an index that is no number")
            yield int(path[at + 1 : end])
            at = end + 1
        elif path[at] == ".":
            name, at = _member(path, at + 1)
            yield name
        else:
            raise JsonError("a path that can't be read")


def _member(path: str, at: int) -> tuple[str, int]:
    """A member's name, which stands in quotes or ends with the next leg, and where it ends."""
    if path[at : at + 1] == '"':
        try:
            name, end = json.JSONDecoder(strict=False).raw_decode(path, at)
        except ValueError as error:
            raise JsonError("a path with a name without its end") from error
        return str(name), end
    end = at
    while end < len(path) and path[end] not in ".[":
        end += 1
    return path[at:end], end


def _apply(whole: Any, operation: int, path: list[str | int], value: Any) -> Any:
    if not path:
        if operation != REPLACE:
            raise JsonError("a step that removes or inserts the document itself")
        return value
    parent = whole
    for leg in path[:-1]:
        parent = _child(parent, leg)
    leg = path[-1]
    if operation == INSERT:
        _insert(parent, leg, value)
    elif operation == REPLACE:
        _child(parent, leg)
        parent[leg] = value
    elif operation == REMOVE:
        _child(parent, leg)
        del parent[leg]
    else:
        raise JsonError(f"an unknown step {operation}")
    return whole


def _child(parent: Any, leg: str | int) -> Any:
    fits = leg in parent if isinstance(parent, dict) else isinstance(parent, list) and isinstance(leg, int) and leg < len(parent)
    if not fits:
        raise JsonError("a step to a place that the document does not have")
    return parent[leg]


def _insert(parent: Any, leg: str | int, value: Any) -> None:
    if isinstance(parent, dict) and isinstance(leg, str) and leg not in parent:
        parent[leg] = value
        _sort(parent)
    elif isinstance(parent, list) and isinstance(leg, int) and leg <= len(parent):
        parent.insert(leg, value)
    else:
        raise JsonError("a step that inserts where nothing can be")


def _sort(members: dict[str, Any]) -> None:
    """The server keeps members by the length of their names, then by their bytes."""
    ordered = sorted(members.items(), key=lambda member: (len(member[0].encode()), member[0].encode()))
    members.clear()
    members.update(ordered)
