"""Positions in binlogs: which of two is the later one, within one server and between servers."""

from __future__ import annotations

import pytest

from headwater.sources.mysql.gtids import Places
from headwater.sources.mysql.positions import Position, behind, holds, parse, reached
from headwater.sources.mysql.replica import encoded

ONE = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
TWO = "4e11fa47-71ca-11e1-9e33-c80aa9429562"


@pytest.mark.parametrize(
    "position",
    [
        Position("binlog.000003", 4711, "0-1-17", "m1"),
        Position("odd;na:me.1000000", 4, f"{ONE}:1-5:7,{TWO}:1", "3e11fa4771ca"),
        Position("binlog.000001", 4),
        Position("odd;na:me.000003", 4711, "0-1-17", "m1", since=(2, 154)),
    ],
)
def test_a_position_reads_back(position: Position) -> None:
    assert parse(str(position)) == position


@pytest.mark.parametrize("text", ["", "16/B374D848", "binlog.000003:4711", "binlog:4;;", "binlog.000003:x;;"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a position"):
        parse(text)


def at(file: int, offset: int, gtids: str = "", server: str = "m1") -> Position:
    return Position(f"binlog.{file:06}", offset, gtids, server)


def test_in_one_log_file_and_offset_decide() -> None:
    assert reached(at(3, 9), at(3, 9))
    assert reached(at(10, 4), at(9, 100))
    assert reached(at(1_000_000, 4), at(999_999, 100))
    assert not reached(at(3, 8), at(3, 9))
    assert reached(at(3, 9, "0-1-5"), at(3, 8, "0-2-99")), "GTIDs may go backward where servers share a domain"


def test_between_servers_gtids_decide() -> None:
    assert reached(at(1, 4, "0-2-18,1-1-3", "m2"), at(7, 900, "0-1-17", "m1"))
    assert not reached(at(9, 900, "0-2-16", "m2"), at(7, 4, "0-1-17", "m1"))
    assert not reached(at(9, 900, "0-2-18", "m2"), at(7, 4, "0-1-17,1-1-1", "m1"))
    assert reached(at(1, 4, f"{ONE}:1-9,{TWO}:1", "b"), at(7, 900, f"{ONE}:1-9", "a"))


def test_sets_of_gtids() -> None:
    assert holds(f"{ONE}:1-5:6-9", f"{ONE.upper()}:3-8")
    assert not holds(f"{ONE}:1-5:7-9", f"{ONE}:3-8")
    assert not holds(f"{ONE}:1-5", f"{TWO}:1")
    assert holds(f"{ONE}:1-5:tag:1-2, \n{TWO}:1", f"{ONE}:tag:2")
    assert not holds(f"{ONE}:1-5", f"{ONE}:tag:2")
    assert holds(f"{ONE}:1-5", "")
    assert not holds("11111111-2222-3333-4444-555555555555:1-5", "11111111-2222-3333-4444-555555555555:1-6")  # like MariaDB's to look at


def test_a_mariadb_that_wrote_its_own_in_place_of_the_others_lacks_them() -> None:
    assert holds("0-2-150", "0-1-120")
    assert behind("0-1-100,0-2-150", "0-1-120")
    assert not behind("0-1-120,0-2-150", "0-1-120")
    assert not behind("0-2-150", "0-1-120"), "older files may be gone: the server itself will say"
    assert behind("0-1-120,0-2-150,1-1-3", "0-1-120,1-1-4")


def test_where_prepared_transactions_begin_means_nothing_on_another_server() -> None:
    start = Position("binlog.000003", 9, "0-1-5", "m1", since=(2, 154))
    here, elsewhere = Places(start, True, "m1", False), Places(start, True, "m2", True)
    assert elsewhere.text("binlog.000001", 4) == str(start)
    for places in (here, elsewhere):
        places.passed("0-1-6")
    assert parse(here.text("binlog.000003", 20)).since == (2, 154)
    assert parse(elsewhere.text("binlog.000001", 20)).since is None


def test_a_set_on_the_wire_has_the_newer_form_only_where_it_has_tags() -> None:
    """The first 8 bytes tell the form and the number of entries, then each has its UUID, its tag where there are any, and its spans."""
    one, two = bytes.fromhex(ONE.replace("-", "")), bytes.fromhex(TWO.replace("-", ""))
    number = [i.to_bytes(8, "little") for i in range(9)]
    assert encoded(f"{ONE}:1-5:7") == number[1] + one + number[2] + number[1] + number[6] + number[7] + number[8]
    tagged = b"\x01\x03\0\0\0\0\0\x01"
    plain, shop, b1 = b"\0", b"\x08shop", b"\x06_b1"
    spans = number[1] + number[1] + number[6]
    assert encoded(f"{TWO}:_b1:1-5,{ONE}:1-5:shop:1-5") == tagged + one + plain + spans + one + shop + spans + two + b1 + spans
