"""docs/types.md shows the data of the type matrix."""

from __future__ import annotations

from pathlib import Path

from tests.types.matrix import table


def test_the_page_shows_the_matrix_that_is_tested() -> None:
    page = (Path(__file__).parents[2] / "docs/types.md").read_text("utf-8")
    shown = page.partition("<!-- matrix -->\n")[2].partition("<!-- end -->")[0]
    assert shown.splitlines() == table(), "print it anew: python -m tests.types.matrix"
