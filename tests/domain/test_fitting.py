"""Whether two tables can be joined: by name, by type, and by a key that means the same row on both sides."""

from __future__ import annotations

import pytest

from headwater.domain.fitting import by_name, fit, fitting, sharing
from headwater.domain.mapping import ColumnPair, TableMapping
from headwater.domain.tables import Column, TableName, TableSchema


def table(name: str, *columns: Column) -> TableSchema:
    return TableSchema(TableName("public", name), columns)


def same(source: str, target: str) -> str | None:
    return None if source == target else "they differ"


KEY = Column("id", "bigint", key=True)
TEXT = Column("name", "text")


def test_tables_that_fit_have_no_problems() -> None:
    fitted = fit(
        table("a", KEY, TEXT, Column("x", "int")), table("b", Column("k", "bigint", key=True), TEXT), [("id", "k"), ("name", "name")], same
    )
    assert fitted.columns == (ColumnPair("id", "k", key=True), ColumnPair("name", "name"))
    assert fitted.percent == 66
    assert fitted.problems == ()


def test_a_key_only_table_fits() -> None:
    fitted = fit(table("a", KEY), table("b", KEY), [("id", "id")], same)
    assert (fitted.percent, fitted.problems) == (100, ())


def test_columns_are_paired_by_name_and_case_counts_only_where_it_decides() -> None:
    source = table("a", Column("ID", "int"), Column("id", "int"), Column("Name", "text"), Column("only_here", "int"))
    target = table("b", Column("name", "text"), Column("id", "int"), Column("only_there", "int"))
    assert by_name(source, target) == [("id", "id"), ("Name", "name")]


def test_generated_columns_are_left_out_by_name_and_refused_by_hand() -> None:
    generated = Column("sum", "int", writable=False)
    plain = Column("sum", "int")
    assert by_name(table("a", KEY, generated), table("b", KEY, plain)) == [("id", "id")]
    assert by_name(table("a", KEY, plain), table("b", KEY, generated)) == [("id", "id")]
    pairs = [("id", "id"), ("sum", "sum")]
    assert "log does not hold" in fit(table("a", KEY, generated), table("b", KEY, plain), pairs, same).problems[0]
    assert "can't be written" in fit(table("a", KEY, plain), table("b", KEY, generated), pairs, same).problems[0]


def test_automatic_pairs_leave_out_what_does_not_fit_and_say_so() -> None:
    pairs, misfits = fitting(table("a", KEY, TEXT), table("b", KEY, Column("name", "int")), same)
    assert pairs == [("id", "id")]
    assert misfits == ["public.a.name (text) can't fill public.b.name (int): they differ."]


def test_every_problem_is_told_at_once() -> None:
    fitted = fit(
        table("a", KEY, TEXT), table("b", KEY, Column("x", "int")), [("id", "id"), ("no", "x"), ("name", "none"), ("name", "x")], same
    )
    said = " ".join(fitted.problems)
    for part in ("public.a has no column no", "public.b has no column none", "can't fill public.b.x", "x is filled by more than one pair"):
        assert part in said
    assert len(fitted.problems) == 4


@pytest.mark.parametrize(
    ("source", "target", "pairs"),
    [
        pytest.param(("id", "region"), ("id",), [("id", "id")], id="two source rows would fall together"),
        pytest.param(("id",), ("id", "region"), [("id", "id"), ("region", "region")], id="a delete could not name its row"),
        pytest.param(("id",), ("id",), [("region", "region")], id="the key is not mapped"),
        pytest.param(("id",), ("region",), [("id", "id"), ("region", "region")], id="the keys are different columns"),
        pytest.param(("id",), ("id", "region"), [("id", "id"), ("id", "region")], id="one column for two"),
    ],
)
def test_keys_that_do_not_meet_are_refused(source: tuple[str, ...], target: tuple[str, ...], pairs: list[tuple[str, str]]) -> None:
    def keyed(name: str, key: tuple[str, ...]) -> TableSchema:
        return table(name, *(Column(c, "int", key=c in key) for c in ("id", "region")))

    assert any("keys don't meet" in problem for problem in fit(keyed("a", source), keyed("b", target), pairs, same).problems)


def test_keys_that_meet_under_other_names_and_in_another_order_fit() -> None:
    source = table("a", Column("id", "int", key=True), Column("region", "text", key=True))
    target = table("b", Column("area", "text", key=True), Column("number", "int", key=True))
    fitted = fit(source, target, [("id", "number"), ("region", "area")], same)
    assert fitted.problems == ()
    assert all(pair.key for pair in fitted.columns)


def test_a_source_without_a_key_is_joined_as_a_whole() -> None:
    bare = Column("id", "bigint")
    for target in (table("b", KEY), table("b", bare)):
        fitted = fit(table("a", bare), target, [("id", "id")], same)
        assert (fitted.problems, [pair.key for pair in fitted.columns]) == ((), [False])


def test_a_target_without_the_key_of_its_source_is_refused() -> None:
    assert "primary key" in fit(table("a", KEY), table("b", Column("id", "bigint")), [("id", "id")], same).problems[0]


def test_a_mapping_without_key_shares_its_target_with_none() -> None:
    def to(source: str, target: str, key: bool) -> TableMapping:
        return TableMapping(source, TableName("s", source), TableName("s", target), (ColumnPair("id", "id", key),), frozenset())

    everything = frozenset({"INSERT", "UPDATE", "DELETE"})
    assert sharing([to("a", "t", False), to("b", "u", True), to("c", "u", True)], everything) == []
    assert "s.t must be filled by it alone" in sharing([to("a", "t", False), to("b", "t", True)], everything)[0]
    assert "told from inserts" in sharing([to("a", "t", False)], frozenset({"UPDATE", "DELETE"}))[0]
    assert sharing([to("a", "t", False)], frozenset({"INSERT", "UPDATE"})) == []


def test_nothing_paired_is_a_problem() -> None:
    assert "No columns" in fit(table("a", KEY), table("b", KEY), [], same).problems[0]
