"""The decoder of PostgreSQL's log: every kind of message, both forms alike, and no bytes that it takes for what they are not (P7, P8)."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.wire import decoder_forms
from tests.wire import pgoutput_encoder as pg
from tests.wire.pgoutput_encoder import UNCHANGED, Value

COLUMNS = [("id", 23, -1, True), ("a", 25, -1, False), ("b", 1700, 786438, False)]
NOTHING, COMMIT, EMPTY, FULL, KEEPALIVE, KEEPALIVE_URGENT, OTHER = range(7)
INSERT, UPDATE, DELETE, TRUNCATE, KEY_OLD, KEY_NEW = range(1, 7)

plain, compiled = decoder_forms.plain, decoder_forms.compiled


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> ModuleType:
    """Each test runs on both forms."""
    module = plain() if request.param == "plain" else compiled()
    if module is None:
        pytest.skip("no C compiler: only the uncompiled form is tested")
    return module


def decoder(form: ModuleType, key: tuple[int, ...] | None = (0,), **more: Any) -> Any:
    """A decoder whose relations all have the same key."""
    return form.Decoder(lambda relation: key, more.pop("rows_max", 1000), more.pop("bytes_max", 1 << 20), **more)


def fed(form: ModuleType, *messages: bytes, **more: Any) -> Any:
    """A decoder that has read the messages."""
    made = decoder(form, **more)
    for message in messages:
        made.feed(message)
    return made


def bit(bits: Any, row: int) -> bool:
    return bool(bits is not None and bits[row >> 3] & (1 << (row & 7)))


def column_values(column: Any, rows: int) -> list[Value]:
    """A column's buffers read as Arrow would read them, unchanged values as such."""
    offsets = struct.unpack(f"{rows + 1}i", column.offsets)
    made: list[Value] = []
    nulls = 0
    for row in range(rows):
        null = column.validity is not None and not bit(column.validity, row)
        nulls += null
        unchanged = bit(column.unchanged, row)
        assert null or not unchanged
        assert not null or offsets[row] == offsets[row + 1]
        made.append(UNCHANGED if unchanged else None if null else bytes(column.data)[offsets[row] : offsets[row + 1]])
    assert nulls == column.nulls
    return made


def rows_of(taken: Any) -> list[tuple[str, int, int, int, tuple[Value, ...]]]:
    """All rows of a take in log order: (table, seq, txn, op, values)."""
    made = []
    for batch in taken.batches:
        seq = struct.unpack(f"{batch.rows}i", batch.seq)
        txn = struct.unpack(f"{batch.rows}i", batch.txn)
        columns = [column_values(column, batch.rows) for column in batch.columns]
        assert len(batch.op) == batch.rows
        assert list(seq) == sorted(set(seq))
        made += [(batch.relation.name, seq[row], txn[row], batch.op[row], tuple(c[row] for c in columns)) for row in range(batch.rows)]
    return sorted(made, key=lambda row: row[1])


def changes(taken: Any) -> list[tuple[int, tuple[Value, ...]]]:
    """Operation and values only."""
    return [(op, row) for _, _, _, op, row in rows_of(taken)]


def transaction(*messages: bytes, lsn: int = 100, end: int = 150) -> list[bytes]:
    return [pg.begin(lsn), *messages, pg.commit(lsn, end)]


T = pg.relation(1, "t", COLUMNS)


def test_one_transaction(form: ModuleType) -> None:
    made = decoder(form)
    stamp, clock = pg.EPOCH_US + 5, pg.EPOCH_US + 9
    events = [
        made.feed(m)
        for m in (
            pg.begin(100, stamp),
            T,
            pg.insert(1, [b"1", b"x", None]),
            pg.update(1, [b"1", UNCHANGED, b"2.50"]),
            pg.delete(1, [b"1", None, None]),
            pg.commit(100, 150, stamp, clock),
        )
    ]
    assert events == [NOTHING] * 5 + [COMMIT]
    assert (made.rows, made.transactions, made.open, made.position, made.clock_us) == (3, 1, False, 150, clock)
    taken = made.take()
    assert rows_of(taken) == [
        ("t", 0, 0, INSERT, (b"1", b"x", None)),
        ("t", 1, 0, UPDATE, (b"1", UNCHANGED, b"2.50")),
        ("t", 2, 0, DELETE, (b"1", None, None)),
    ]
    assert (taken.ends, taken.commit_us, taken.seen_us, taken.counts, taken.open_rows) == ([150], [stamp], [clock], [3], 0)
    assert made.rows == made.transactions == made.message_bytes == 0
    assert made.take().batches == ()


def test_relation_is_told(form: ModuleType) -> None:
    told: list[Any] = []

    def key_of(relation: Any) -> tuple[int, ...]:
        told.append(relation)
        return (0,)

    made = form.Decoder(key_of, 10, 10)
    made.feed(pg.relation(9, "ünïcode", COLUMNS, "f", schema=""))
    assert told == [
        form.Relation(
            9,
            "pg_catalog",
            "ünïcode",
            "f",
            (
                form.RelationColumn("id", 23, -1, True),
                form.RelationColumn("a", 25, -1, False),
                form.RelationColumn("b", 1700, 786438, False),
            ),
        )
    ]


def test_several_tables_keep_the_order_of_the_log(form: ModuleType) -> None:
    other = pg.relation(2, "u", COLUMNS[:1])
    made = fed(
        form,
        T,
        other,
        *transaction(pg.insert(2, [b"1"]), pg.insert(1, [b"1", None, None])),
        *transaction(pg.insert(2, [b"2"]), lsn=200, end=250),
    )
    assert [row[:3] for row in rows_of(made.take())] == [("u", 0, 0), ("t", 1, 0), ("u", 2, 1)]


def test_changed_key_becomes_two_rows(form: ModuleType) -> None:
    made = fed(form, T, *transaction(pg.update(1, [b"2", UNCHANGED, b"1"], [b"1", None, None])))
    assert changes(made.take()) == [(KEY_OLD, (b"1", None, None)), (KEY_NEW, (b"2", UNCHANGED, b"1"))]


def test_old_key_that_did_not_change(form: ModuleType) -> None:
    """PostgreSQL sends the old key too where a part of it lies out of line; the new row then lacks that part."""
    made = fed(form, T, *transaction(pg.update(1, [UNCHANGED, b"x", UNCHANGED], [b"1", None, None])))
    assert changes(made.take()) == [(UPDATE, (b"1", b"x", UNCHANGED))]


def test_full_identity_fills_what_was_not_sent(form: ModuleType) -> None:
    old = [b"1", b"long", None]
    made = fed(
        form, T, *transaction(pg.update(1, [b"1", UNCHANGED, UNCHANGED], old, b"O"), pg.update(1, [b"2", UNCHANGED, b"x"], old, b"O"))
    )
    assert changes(made.take()) == [
        (UPDATE, (b"1", b"long", None)),
        (KEY_OLD, (b"1", None, None)),
        (KEY_NEW, (b"2", b"long", b"x")),
    ]


def test_full_identity_deletes_by_key_only(form: ModuleType) -> None:
    made = fed(form, T, *transaction(pg.delete(1, [b"1", b"long", b"x"], b"O")))
    assert changes(made.take()) == [(DELETE, (b"1", None, None))]


def test_composite_key(form: ModuleType) -> None:
    made = fed(
        form,
        T,
        *transaction(pg.update(1, [b"1", b"y", b"v"], [b"1", b"x", None]), pg.update(1, [b"1", b"y", b"w"], [b"1", b"y", None])),
        key=(0, 1),
    )
    assert [op for op, _ in changes(made.take())] == [KEY_OLD, KEY_NEW, UPDATE]


def test_truncate_stands_in_every_table(form: ModuleType) -> None:
    made = fed(form, T, pg.relation(2, "u", COLUMNS[:1]), *transaction(pg.insert(2, [b"1"]), pg.truncate([1, 2])))
    assert [(row[0], row[3], row[4]) for row in rows_of(made.take())] == [
        ("u", INSERT, (b"1",)),
        ("t", TRUNCATE, (None, None, None)),
        ("u", TRUNCATE, (None,)),
    ]


def test_empty_transactions_only_move_the_place(form: ModuleType) -> None:
    made = decoder(form)
    assert [made.feed(m) for m in transaction()] == [NOTHING, EMPTY]
    assert (made.position, made.transactions, made.take().ends) == (150, 0, [])


def test_keepalives_move_the_place_between_transactions_only(form: ModuleType) -> None:
    made = decoder(form)
    assert made.feed(pg.keepalive(500, pg.EPOCH_US + 3)) == KEEPALIVE
    assert (made.position, made.clock_us) == (500, pg.EPOCH_US + 3)
    made.feed(pg.begin(600))
    assert made.feed(pg.keepalive(700, urgent=True)) == KEEPALIVE_URGENT
    assert made.position == 500


def test_a_new_announcement_begins_a_new_batch(form: ModuleType) -> None:
    wider = pg.relation(1, "t", [*COLUMNS, ("c", 16, -1, False)])
    made = fed(
        form,
        T,
        *transaction(pg.insert(1, [b"1", None, None]), T, pg.insert(1, [b"2", None, None]), wider, pg.insert(1, [b"3", None, None, b"t"])),
    )
    taken = made.take()
    assert [(batch.rows, len(batch.columns)) for batch in taken.batches] == [(1, 3), (1, 3), (1, 4)], "one that says the same too"
    assert [row[1] for row in rows_of(taken)] == [0, 1, 2]


def test_a_table_that_nobody_wants_is_left_out(form: ModuleType) -> None:
    made = fed(form, T, *transaction(pg.insert(1, [b"1", None, None]), pg.truncate([1])), key=None)
    assert made.take().batches == ()


def test_transactions_before_the_wanted_place_are_left_out(form: ModuleType) -> None:
    made = fed(
        form,
        T,
        *transaction(pg.insert(1, [b"1", None, None]), pg.truncate([1]), lsn=99, end=100),
        *transaction(pg.insert(1, [b"2", None, None]), lsn=100, end=120),
        skip_before=100,
    )
    assert changes(made.take()) == [(INSERT, (b"2", None, None))]


def test_origins_types_and_logical_messages_are_passed_over(form: ModuleType) -> None:
    origin = pg.xlog(b"O" + bytes(8) + b"name\0")
    type_ = pg.xlog(b"Y" + bytes(4) + b"public\0mood\0")
    message = pg.xlog(b"M\0" + bytes(8) + b"prefix\0" + bytes(4))
    made = fed(form, T, *transaction(origin, type_, message, pg.insert(1, [b"1", None, None])))
    assert made.take().counts == [1]


def test_a_large_transaction_is_taken_in_parts(form: ModuleType) -> None:
    made = fed(form, T, *transaction(pg.insert(1, [b"0", None, None]), lsn=50, end=60), pg.begin(100, pg.EPOCH_US + 7), rows_max=3)
    events = [made.feed(pg.insert(1, [b"%d" % i, None, None])) for i in range(3)]
    assert events == [NOTHING, NOTHING, FULL]
    first = made.take()
    assert (first.ends, first.counts, first.open_rows, first.open_end, first.open_commit_us) == ([60], [1], 3, 100, pg.EPOCH_US + 7)
    assert [row[2] for row in rows_of(first)] == [0, 1, 1, 1]
    assert made.feed(pg.commit(100, 150)) == COMMIT
    last = made.take()
    assert (last.batches, last.ends, last.counts, last.open_rows) == ((), [150], [0], 0)


def test_a_transaction_of_few_huge_rows_is_taken_in_parts(form: ModuleType) -> None:
    made = fed(form, T, pg.begin(100), bytes_max=1000)
    assert made.feed(pg.insert(1, [b"1", bytes(500), None])) == NOTHING
    assert made.feed(pg.insert(1, [b"2", bytes(500), None])) == FULL


def framed(*messages: bytes) -> bytearray:
    """The messages as CopyData in the server's stream."""
    return bytearray(b"".join(b"d" + struct.pack("!I", len(message) + 4) + message for message in messages))


def test_a_stream_is_read_event_by_event(form: ModuleType) -> None:
    made = decoder(form)
    stream = framed(T, *transaction(pg.insert(1, [b"1", None, None])), pg.keepalive(500), *transaction(lsn=600, end=700))
    stream += b"N" + struct.pack("!I", 4)
    at = 0
    events: list[int] = []
    while not events or events[-1] not in (NOTHING, OTHER):
        at, event = made.feed_stream(stream, at, len(stream))
        events.append(event)
    assert events == [COMMIT, KEEPALIVE, EMPTY, OTHER]
    assert stream[at:] == b"N\0\0\0\4"
    assert (changes(made.take()), made.position) == ([(INSERT, (b"1", None, None))], 700)


def test_a_stream_in_pieces(form: ModuleType) -> None:
    """Whatever stands there of the next message is left for later, at every cut."""
    messages = [T, *transaction(pg.insert(1, [b"1", b"abc", None]))]
    stream = framed(*messages)
    for cut in range(len(stream) + 1):
        made = decoder(form)
        at, event = made.feed_stream(stream, 0, cut)
        assert at <= cut
        assert event == (COMMIT if cut == len(stream) else NOTHING)
        at, event = made.feed_stream(stream, at, len(stream))
        assert at == len(stream)
        assert changes(made.take()) == [(INSERT, (b"1", b"abc", None))]


def test_a_stream_whose_message_can_not_be(form: ModuleType) -> None:
    with pytest.raises(form.PgOutputError, match="3 bytes"):
        decoder(form).feed_stream(bytearray(b"d\0\0\0\3w"), 0, 6)


@pytest.mark.parametrize(
    ("message", "at"),
    [
        (b"", 0),
        (b"x", 0),
        (b"w" + bytes(20), 0),
        (pg.xlog(b"Z"), 25),
        (pg.xlog(b"B" + bytes(3)), 25),
        (pg.commit(999, 1000), 25),
        (pg.begin(100), 25),
        (pg.keepalive(1)[:-1], 0),
        (pg.insert(77, [b"1"]), 26),
        (pg.insert(1, [b"1"]), 31),
        (pg.insert(1, [b"1", UNCHANGED, None]), 39),
        (pg.update(1, [UNCHANGED, b"", b""]), 33),
        (pg.insert(1, [b"1", None, None]) + b"!", 41),
        (pg.xlog(b"I" + struct.pack("!I", 1) + b"K" + pg.values([b"1", None, None])), 30),
        (pg.xlog(b"I" + struct.pack("!I", 1) + b"N" + struct.pack("!H", 3) + b"b"), 33),
        (pg.xlog(b"I" + struct.pack("!I", 1) + b"N" + struct.pack("!H", 3) + b"t\xff\xff\xff\xff"), 38),
        (pg.delete(1, [b"1", None, None], b"N"), 30),
        (pg.delete(1, [None, None, None]), 33),
        (pg.update(1, [b"1", None, None], [b"1", None, None], b"X"), 30),
        (pg.truncate([1])[:-1], 25),
        (pg.relation(5, "t", COLUMNS) + b"!", 76),
        (pg.xlog(b"R" + struct.pack("!I", 5) + b"never ends"), 30),
        (pg.xlog(b"R" + struct.pack("!I", 5) + b"\xff\0"), 30),
    ],
)
def test_what_is_wrong_is_told_with_its_place(form: ModuleType, message: bytes, at: int) -> None:
    made = fed(form, T, pg.begin(100))
    with pytest.raises(form.PgOutputError) as caught:
        made.feed(message)
    assert caught.value.offset == at
    assert f"byte {at} " in str(caught.value)


def test_changes_belong_into_transactions(form: ModuleType) -> None:
    made = fed(form, T)
    with pytest.raises(form.PgOutputError, match="outside"):
        made.feed(pg.insert(1, [b"1", None, None]))


WHOLE = [
    pg.insert(1, [b"1", b"abc", None]),
    pg.update(1, [b"1", b"abc", None], [b"2", None, None]),
    pg.delete(1, [b"1", None, None]),
    pg.truncate([1]),
    pg.relation(3, "x", COLUMNS),
    pg.commit(100, 150),
    pg.keepalive(1),
]


@pytest.mark.parametrize("message", WHOLE, ids=lambda message: chr(message[25]) if message[0] == 119 else "k")
def test_half_messages_are_refused_at_every_cut(form: ModuleType, message: bytes) -> None:
    for cut in range(len(message)):
        made = fed(form, T, pg.begin(100))
        with pytest.raises(form.PgOutputError) as caught:
            made.feed(message[:cut])
        assert caught.value.offset <= cut


@given(st.sampled_from(WHOLE), st.data())
@settings(max_examples=300, deadline=None)
def test_both_forms_judge_spoiled_bytes_alike(message: bytes, data: st.DataObject) -> None:
    spoiled = bytearray(message)
    for _ in range(data.draw(st.integers(1, 3))):
        spoiled[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    verdicts = [verdict(form, bytes(spoiled)) for form in forms()]
    assert verdicts[0] == verdicts[-1]


def forms() -> list[ModuleType]:
    other = compiled()
    return [plain()] if other is None else [plain(), other]


def verdict(form: ModuleType, message: bytes) -> Any:
    made = fed(form, T, pg.begin(100))
    try:
        event = made.feed(message)
    except form.PgOutputError as error:
        return str(error)
    return event, rows_of(made.take())


text_values = st.binary(max_size=12)
nullable = st.one_of(st.none(), text_values)
sendable = st.one_of(st.none(), st.just(UNCHANGED), text_values)


@st.composite
def one_change(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, tuple[Value, ...]]]]:
    """A message about table 1 with key (0, 2) of four columns, and the rows that it stands for."""
    k1, k2 = draw(text_values), draw(text_values)
    kind = draw(st.sampled_from("iudUFDT"))
    if kind == "i":
        row: Sequence[Value] = (k1, draw(nullable), k2, draw(nullable))
        return pg.insert(1, row), [(INSERT, tuple(row))]
    if kind == "u":
        row = (k1, draw(sendable), k2, draw(sendable))
        return pg.update(1, row), [(UPDATE, tuple(row))]
    if kind in "dD":
        old = (k1, None, k2, None) if kind == "d" else (k1, draw(nullable), k2, draw(nullable))
        return pg.delete(1, old, b"K" if kind == "d" else b"O"), [(DELETE, (k1, None, k2, None))]
    if kind == "T":
        return pg.truncate([1]), [(TRUNCATE, (None,) * 4)]
    whole = kind == "F"
    old = (k1, draw(nullable), k2, draw(nullable)) if whole else (k1, None, k2, None)
    new = (draw(text_values), draw(sendable), draw(st.one_of(st.just(UNCHANGED), text_values)), draw(sendable))
    filled = tuple(o if n == UNCHANGED and (whole or i in (0, 2)) else n for i, (o, n) in enumerate(zip(old, new, strict=True)))
    if (filled[0], filled[2]) == (k1, k2):
        return pg.update(1, new, old, b"O" if whole else b"K"), [(UPDATE, filled)]
    return pg.update(1, new, old, b"O" if whole else b"K"), [(KEY_OLD, (k1, None, k2, None)), (KEY_NEW, filled)]


FOUR = pg.relation(1, "t", [(name, 25, -1, name in "ac") for name in "abcd"])


@given(st.lists(st.lists(one_change(), max_size=12), max_size=8), st.integers(1, 20), st.data())
@settings(max_examples=200, deadline=None)
def test_any_history_comes_out_as_it_went_in(history: list[list[Any]], rows_max: int, data: st.DataObject) -> None:
    """Takes at any moment, parts included: together they are the history; and both forms give the same."""
    takes = data.draw(st.sets(st.integers(0, 120)))
    results = []
    for form in forms():
        made = decoder(form, key=(0, 2), rows_max=rows_max)
        made.feed(FOUR)
        taken, fed_messages = [], 0
        for number, transaction_changes in enumerate(history):
            lsn = 100 * number + 100
            messages = [pg.begin(lsn), *(message for message, _ in transaction_changes), pg.commit(lsn, lsn + 50)]
            for message in messages:
                if made.feed(message) == FULL or fed_messages in takes:
                    taken.append(made.take())
                fed_messages += 1
        taken.append(made.take())
        results.append([(changes(t), t.ends, t.counts, t.open_rows) for t in taken])
    expected = [change for transaction_changes in history for _, rows in transaction_changes for change in rows]
    assert [change for piece in results[0] for change in piece[0]] == expected
    assert [end for piece in results[0] for end in piece[1]] == [100 * n + 150 for n, t in enumerate(history) if t]
    assert sum(sum(counts) + open_rows for _, _, counts, open_rows in results[0]) == len(expected)
    assert results[0] == results[-1]
