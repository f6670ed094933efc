"""Row events read at once, as the uncompiled decoder does: the same texts as value by value, or a refusal, whatever the bytes are.

Holds up P8 for the uncompiled form. That both forms agree on real logs: `tests/integration/test_binlog_decoder.py`.
"""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from headwater.wire import binlog_values as values
from headwater.wire.binlog_events import MapColumn
from headwater.wire.binlog_plain import DELETE, INSERT, UPDATE, Rows
from headwater.wire.binlog_texts import code, texts
from headwater.wire.binlog_values import ColumnPlan, Reading, reading

FIXED = st.one_of(
    st.tuples(st.sampled_from((values.TINY, values.SHORT, values.INT24, values.LONG, values.LONGLONG)), st.just(0), st.booleans()),
    st.tuples(st.sampled_from((values.FLOAT, values.DOUBLE, values.YEAR, values.DATE)), st.just(0), st.just(False)),
    st.tuples(st.sampled_from((values.DATETIME2, values.TIMESTAMP2, values.TIME2)), st.integers(0, 6), st.just(False)),
    st.integers(1, 65).flatmap(
        lambda precision: st.tuples(
            st.just(values.NEWDECIMAL), st.integers(0, min(38, precision)).map(lambda scale: precision | scale << 8), st.just(False)
        )
    ),
)
"""Type, metadata and whether it is unsigned, of types whose values have one size."""

NUMBER = Reading(4, 0, values.integer(True), values.SIGNED_KIND)
BLOB = Reading(-1, 3, None, values.PLAIN_KIND)
NAME = Reading(-1, 1, None, values.PLAIN_KIND)
TABLE = (NUMBER, NAME, BLOB, Reading(1, 0, values.integer(False), values.UNSIGNED_KIND))


def image(number: int, name: bytes | None, blob: bytes, small: int) -> bytes:
    """A row of TABLE; the bits behind those of its columns are set, as MariaDB sets them."""
    head = bytes((0xF0 | (name is None) << 1,)) + struct.pack("<i", number)
    text = b"" if name is None else bytes((len(name),)) + name
    return head + text + len(blob).to_bytes(3, "little") + blob + bytes((small,))


@given(FIXED, st.data())
def test_texts_of_a_column_are_those_of_its_values_p8(kind: tuple[int, int, bool], data: st.DataObject) -> None:
    found = reading(MapColumn(kind[0], kind[1], True), ColumnPlan(unsigned=kind[2]))
    column = data.draw(st.lists(st.binary(min_size=found.size, max_size=found.size), min_size=1, max_size=4))
    assert found.convert is not None
    try:
        made = texts(found)([struct.unpack("<" + code(found), value)[0] for value in column])
    except ValueError:
        return  # bytes that no server writes: they are read one by one
    assert made == [found.convert(value) for value in column]


@given(st.integers(1, 65).flatmap(lambda p: st.tuples(st.just(p), st.integers(0, min(p, 38)))), st.data())
def test_every_decimal_is_read_at_once(shape: tuple[int, int], data: st.DataObject) -> None:
    """Numbers as servers write them, with every pattern of zero groups and either sign."""
    precision, scale = shape
    found = reading(MapColumn(values.NEWDECIMAL, precision | scale << 8, True), ColumnPlan())
    digits = data.draw(
        st.text("0123456789", min_size=precision, max_size=precision) | st.integers(0, 99).map(lambda n: f"{n:0{precision}d}"[-precision:])
    )
    minus = data.draw(st.booleans()) and digits.strip("0") != ""
    assert texts(found)([encoded(digits, scale, minus)]) == [shown(digits, scale, minus)]


def encoded(digits: str, scale: int, minus: bool) -> bytes:
    """A DECIMAL as the log has it."""
    whole = len(digits) - scale
    groups = [digits[: whole % 9], *(digits[at : at + 9] for at in range(whole % 9, whole, 9))]
    groups += [digits[at : at + 9] for at in range(whole, len(digits), 9)]
    sizes = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
    raw = bytearray(b"".join(int(group).to_bytes(sizes[len(group)], "big") for group in groups if group))
    raw = bytearray(255 - byte for byte in raw) if minus else raw
    raw[0] ^= 128
    return bytes(raw)


def shown(digits: str, scale: int, minus: bool) -> bytes:
    """A DECIMAL as the server prints it."""
    whole, fraction = (digits[:-scale], "." + digits[-scale:]) if scale else (digits, "")
    return f"{'-' * minus}{whole.lstrip('0') or '0'}{fraction}".encode()


def test_rows_with_and_without_nulls_become_columns() -> None:
    event = image(1, b"x", b"long" * 20_000, 7) + image(-2, None, b"", 255) + image(3, b"", b"b", 0)
    found = Rows(TABLE, [0]).read(event, INSERT, 0, len(event), 100)
    assert found is not None
    at, count, columns = found
    assert (at, count) == (len(event), 3)
    assert [column[0] for column in columns] == [
        [b"1", b"-2", b"3"], [b"x", b"", b""], [b"long" * 20_000, b"", b"b"], [b"7", b"255", b"0"],
    ]  # fmt: skip
    assert [list(column[1]) for column in columns] == [[], [1], [], []]


def test_a_limit_ends_between_rows() -> None:
    event = image(1, b"x", b"", 0) + image(2, b"y", b"", 0)
    found = Rows(TABLE, [0]).read(event, INSERT, 0, len(event), 1)
    assert found is not None
    assert found[:2] == (len(event) // 2, 1)


def test_old_rows_bring_their_key_and_updates_their_new_row() -> None:
    rows, old, new = Rows(TABLE, [0]), image(1, b"x", b"b", 0), image(1, b"y", b"b", 0)
    deleted, updated = rows.read(old, DELETE, 0, len(old), 10), rows.read(old + new, UPDATE, 0, len(old + new), 10)
    assert deleted is not None
    assert [(column[0], list(column[1])) for column in deleted[2]] == [([b"1"], []), *[([b""], [0])] * 3]
    assert updated is not None
    assert [column[0] for column in updated[2]] == [[b"1"], [b"y"], [b"b"], [b"0"]]


def test_what_is_unusual_or_damaged_is_left_alone() -> None:
    old, new = image(1, b"x", b"b", 0), image(2, b"y", b"b", 0)
    unusual: list[tuple[Any, int, bytes]] = [
        ([0], UPDATE, old + new),  # another key
        ([1], UPDATE, image(1, None, b"", 0) * 2),  # no key
        ([], UPDATE, old + old),  # the whole row is the key
        ([0], UPDATE, old + old + old),  # half a pair
        *(([0], INSERT, old[:cut]) for cut in range(len(old))),
        ([0], INSERT, b""),
    ]
    for key, op, event in unusual:
        assert Rows(TABLE, key).read(event + b"\0\0\0\0", op, 0, len(event), 10) is None, (key, op, event)
