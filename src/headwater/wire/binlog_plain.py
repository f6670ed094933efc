"""The usual row events without a compiler: whole rows at once, where the decoder goes value by value.

Compiled, a loop over values is quick; interpreted, it is what costs. So the uncompiled decoder asks here first. `struct` unpacks an image
in as many calls as it has values of varying length, an event's rows become columns, and each column becomes text in one go.

All or nothing. What is unusual (columns that are left out, a changed key), and whatever is not right, is left to the decoder's own loops,
which are the same in both forms: they say what is wrong, so nothing here does. What is accepted here comes out as it would there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headwater.wire.binlog_texts import Texts, code, texts
from headwater.wire.binlog_values import Reading

INSERT, UPDATE, DELETE = 1, 2, 3
LAYOUTS_MAX = 1000
"""So many patterns of nulls are remembered of one table; beyond it the memory of them begins anew."""

_PREFIXES = {1: "B", 2: "H", 3: "HB", 4: "I"}

Unpack = Callable[[bytes, int], tuple[Any, ...]]
Column = tuple[list[bytes], Sequence[int]]
"""Texts of a column, row after row, and which of the rows are null there."""


@dataclass(frozen=True, eq=False)
class Layout:
    """Row images that have the same columns null. Each of the `steps` ends with the length of a value that follows: how to unpack it, its
    size, and whether that length has three bytes. `last` is what comes behind the last of those. Null columns are empty bytes."""

    nulls: tuple[int, ...]
    steps: tuple[tuple[Unpack, int, bool], ...]
    last: Unpack
    last_size: int


class Rows:
    """Reads rows of one table; its columns are read so, and its rows are found by `key`."""

    def __init__(self, readings: Sequence[Reading], key: Sequence[int]) -> None:
        self._readings = readings
        self._key = frozenset(key)
        self._nulls_size = (len(readings) + 7) >> 3
        self._codes = [code(reading) for reading in readings]
        self._texts = [texts(reading) for reading in readings]
        self._layouts: dict[bytes, Layout] = {}

    def read(self, event: bytes, op: int, at: int, end: int, rows_max: int) -> tuple[int, int, list[Column]] | None:
        """At most so many rows from `at` on: the place behind them, how many they are, and their columns. None: they are not usual."""
        try:
            if op == UPDATE:
                return self._updates(event, at, end, rows_max)
            at, rows, layouts = self._images(event, at, end, rows_max)
            return None if at > end else (at, len(rows), self._columns(rows, layouts, op == DELETE and bool(self._key)))
        except (struct.error, ValueError, zlib.error):
            return None

    def _updates(self, event: bytes, at: int, end: int, rows_max: int) -> tuple[int, int, list[Column]] | None:
        """Pairs of an old row and a new one, whose keys are the same."""
        if not self._key:
            return None
        at, images, layouts = self._images(event, at, end, 2 * rows_max)
        old, new = images[::2], images[1::2]
        if at > end or len(old) != len(new) or any(self._key.intersection(layout.nulls) for layout in set(layouts)):
            return None
        if any([row[i] for row in old] != [row[i] for row in new] for i in self._key):
            return None
        return at, len(new), self._columns(new, layouts[1::2], False)

    def _images(self, event: bytes, at: int, end: int, count: int) -> tuple[int, list[list[Any]], list[Layout]]:
        """Up to `count` row images, with something for each column. Where they are not right, the place comes out behind the end."""
        rows: list[list[Any]] = []
        layouts: list[Layout] = []
        nulls_size = self._nulls_size
        while at < end and len(rows) < count:
            nulls = event[at : at + nulls_size]
            layout = self._layouts.get(nulls) or self._layout(nulls)
            steps, last, last_size = layout.steps, layout.last, layout.last_size
            while at < end and len(rows) < count and event.startswith(nulls, at):  # mostly to the event's end
                at += nulls_size
                row: list[Any] = []
                for unpack, size, three in steps:
                    row += unpack(event, at)
                    at += size
                    if three:
                        high = row.pop()
                        row[-1] |= high << 16
                    stop = at + row[-1]
                    row[-1] = event[at:stop]
                    at = stop
                row += last(event, at)
                at += last_size
                rows.append(row)
            layouts += [layout] * (len(rows) - len(layouts))
        return at, rows, layouts

    def _layout(self, nulls: bytes) -> Layout:
        """How the images are read that begin with these bits."""
        bits = int.from_bytes(nulls, "little")
        steps, codes = [], "<"
        for i, fixed in enumerate(self._codes):
            if bits >> i & 1:
                codes += "0s"
            elif fixed:
                codes += fixed
            else:
                prefix = self._readings[i].prefix
                step = struct.Struct(codes + _PREFIXES[prefix])
                steps.append((step.unpack_from, step.size, prefix == 3))
                codes = "<"
        last = struct.Struct(codes)
        if len(self._layouts) >= LAYOUTS_MAX:
            self._layouts.clear()
        found = tuple(i for i in range(len(self._codes)) if bits >> i & 1)
        layout = self._layouts[nulls] = Layout(found, tuple(steps), last.unpack_from, last.size)
        return layout

    def _columns(self, rows: list[list[Any]], layouts: list[Layout], key_only: bool) -> list[Column]:
        """Rows as columns of texts."""
        made: list[Column] = []
        count = len(rows)
        some_null = {i for layout in set(layouts) for i in layout.nulls}
        for i, (values, make) in enumerate(zip(zip(*rows, strict=True), self._texts, strict=True)):
            if key_only and i not in self._key:
                made.append(([b""] * count, range(count)))
            elif i not in some_null:
                made.append((make(values), ()))
            else:
                nulls = [row for row, layout in enumerate(layouts) if i in layout.nulls]
                made.append((_beside(nulls, values, make), nulls))
        return made


def _beside(nulls: Sequence[int], values: Sequence[Any], make: Texts) -> list[bytes]:
    """Texts of the values that are not null, and empty ones in the places of the others."""
    empty = frozenset(nulls)
    found = iter(make([value for row, value in enumerate(values) if row not in empty]))
    return [b"" if row in empty else next(found) for row in range(len(values))]
