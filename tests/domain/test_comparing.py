"""Which column pairs can be compared: every pair that may be joined across kinds of databases, but for a list of gaps."""

from __future__ import annotations

from itertools import product

from headwater.domain.comparing import DIGEST, DOUBLE, OUTPUT, PLAIN, forms
from headwater.domain.types import compatible
from tests.domain.test_types_crossing import EVERY

GAPS = {
    ("json", "mysql:json"),  # JSON that is not kept as text: each server writes values in its own way
    ("jsonb", "mysql:json"),
    ("mysql:json", "jsonb"),
}


def test_what_may_be_joined_can_be_compared_but_for_a_list_of_gaps() -> None:
    gaps = {
        (source, target)
        for source, target in product(EVERY, EVERY)
        if "mysql:" in source + target and compatible(source, target) is None and forms(source, target) is None
    }
    from_text = {(source, target) for source, target in gaps if source not in ("json", "jsonb", "mysql:json")}
    assert gaps - from_text == GAPS
    assert {target for _, target in from_text} <= {"mysql:json", "jsonb", "xml"}


def test_types_of_equal_names_are_not_taken_for_equal_across_databases() -> None:
    assert forms("bytea", "bytea") == (DIGEST, DIGEST)
    assert forms("json", "json") == (PLAIN, PLAIN)
    assert forms("mysql:float", "mysql:float") == (DOUBLE, DOUBLE)  # its own text has fewer digits than it takes
    assert forms("mysql:json", "json") == forms("mysql:longtext utf8mb4", "json") == (DIGEST, DIGEST)
    assert forms("character(3)", "mysql:char(3) utf8mb4") == (PLAIN, PLAIN)
    assert forms("character(3)", "mysql:varchar(3) utf8mb4") == (OUTPUT, PLAIN)
    assert forms("mysql:point", "point") is None
