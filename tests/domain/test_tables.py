"""Table names: written and read back as the same name, whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.domain.tables import TableName

parts = st.text(st.sampled_from('ab."\\ %é'), min_size=1, max_size=6)


@given(parts, parts)
def test_a_name_is_read_back_as_it_was_written(schema: str, name: str) -> None:
    assert TableName.parse(str(TableName(schema, name)), "public") == TableName(schema, name)


@pytest.mark.parametrize(
    ("written", "schema", "name"),
    [
        ("orders", "public", "orders"),
        ("Shop.Order", "Shop", "Order"),
        ("shop.a.b", "shop", "a.b"),
        ('"my.schema".orders', "my.schema", "orders"),
        ('"Shop"."Order"', "Shop", "Order"),
        ('"a.b"', "public", "a.b"),
        ('shop."say ""so"""', "shop", 'say "so"'),
        ('a"b.c"d', 'a"b', 'c"d'),
    ],
)
def test_quoted_and_plain_names(written: str, schema: str, name: str) -> None:
    assert TableName.parse(written, "public") == TableName(schema, name)


@pytest.mark.parametrize("written", ["", ".", "a.", ".b", '"a', '"a"b', '"a".', '"".b', 'a."b', 'a."b"c', '"'])
def test_what_is_no_name_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="not a table name"):
        TableName.parse(written, "public")
