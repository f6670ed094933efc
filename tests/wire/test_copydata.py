"""Rows out of a COPY's message stream: whole ones only, in both forms, at every cut."""

from __future__ import annotations

import struct
from types import ModuleType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.wire import copydata
from tests.wire import decoder_forms

NOTICE = b"N" + struct.pack("!I", 20) + b"SWARNING\0C01000\0"


@pytest.fixture(params=["plain", "compiled"])
def form(request: pytest.FixtureRequest) -> ModuleType:
    module = decoder_forms.plain("copydata") if request.param == "plain" else decoder_forms.compiled("copydata")
    if module is None:
        pytest.skip("no C compiler: only the uncompiled form is tested")
    return module


def stream(*rows: bytes) -> bytearray:
    return bytearray(b"".join(copydata.copy_data(row) for row in rows))


def test_rows_at_every_cut(form: ModuleType) -> None:
    rows = [b"1\ta\n", b"", b"2\t\\N\n"]
    whole = stream(*rows)
    ends = [0, 9, 14, len(whole)]
    for cut in range(len(whole) + 1):
        complete = sum(end <= cut for end in ends) - 1
        assert form.rows(whole, 0, cut) == (b"".join(rows[:complete]), ends[complete])


def test_other_messages_end_the_rows(form: ModuleType) -> None:
    taken, at = form.rows(stream(b"a\n") + NOTICE + stream(b"b\n"), 0, 1000)
    assert (taken, at) == (b"a\n", 7)
    assert form.rows(bytearray(NOTICE), 0, len(NOTICE)) == (b"", 0)


@given(st.lists(st.binary(max_size=30)), st.integers(0, 40), st.integers(0, 60))
@settings(max_examples=200, deadline=None)
def test_both_forms_agree(rows: list[bytes], start: int, cut: int) -> None:
    forms = [decoder_forms.plain("copydata"), decoder_forms.compiled("copydata")]
    whole = bytearray(start) + stream(*rows)
    end = max(start, len(whole) - cut)
    results = [form.rows(whole, start, end) for form in forms if form is not None]
    assert results[0] == results[-1]


def test_lengths_that_can_not_be(form: ModuleType) -> None:
    spoiled = bytearray(b"d\0\0\0\3abc")
    assert form.rows(spoiled, 0, len(spoiled)) == (b"", 0)
    with pytest.raises(form.StreamError):
        form.message_end(spoiled, 0)


def test_fields_of_an_error() -> None:
    assert copydata.fields(b"SERROR\0VERROR\0C42P01\0Mno such \xc3\xa4\0\0") == {"S": "ERROR", "V": "ERROR", "C": "42P01", "M": "no such ä"}


def test_messages_to_the_server() -> None:
    assert copydata.query(b"SELECT 1") == b"Q\0\0\0\x0dSELECT 1\0"
    assert copydata.copy_data(b"xy") == b"d\0\0\0\6xy"
    assert copydata.message_end(bytearray(copydata.copy_data(b"xy")), 0) == 7
