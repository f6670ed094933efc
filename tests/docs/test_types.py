"""docs/types.md shows the data of the type matrix."""

from __future__ import annotations

from pathlib import Path

from tests.types import mysql_matrix
from tests.types.matrix import table

PAGE = (Path(__file__).parents[2] / "docs/types.md").read_text("utf-8")


def test_the_page_shows_the_matrix_that_is_tested() -> None:
    shown = PAGE.partition("<!-- matrix -->\n")[2].partition("<!-- end -->")[0]
    assert shown.splitlines() == table(), "print it anew: python -m tests.types.matrix"


def test_the_page_shows_which_types_of_different_databases_meet() -> None:
    shown = PAGE.partition("<!-- between -->\n")[2].partition("<!-- end of between -->")[0]
    assert shown.splitlines() == mysql_matrix.tables(), "print them anew: python -m tests.types.mysql_matrix"
