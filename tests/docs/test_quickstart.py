"""The quickstart's program is run as it stands there, against the program and two real servers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.databases import Database, wait_until
from tests.programs import Service, initialised

PAGE = Path(__file__).parents[2] / "docs" / "quickstart.md"


@pytest.mark.filterwarnings("ignore:Unable to convert string to date:ImportWarning")
def test_the_quickstart_moves_tables(
    tmp_path: Path,
    source_database: Database,
    target_database: Database,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    table = "CREATE TABLE orders (id bigint PRIMARY KEY, note text)"
    source_database.run(table, "INSERT INTO orders SELECT i, 'n' || i FROM generate_series(1, 500) i")
    target_database.run(table)
    code = re.search(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert code is not None
    program = code[1]
    for name, port, database in (("shop", "5432", source_database), ("warehouse", "5433", target_database)):
        cluster = database.cluster
        shown = f'"{name}", "127.0.0.1", "{port}", "{name}", "headwater", "..."'
        assert shown in program
        real = f'"{name}", {cluster.host!r}, "{cluster.port}", {database.name!r}, {cluster.user!r}, {cluster.password!r}'
        program = program.replace(shown, real)

    access = initialised(tmp_path)
    with Service(tmp_path, access) as service:
        for name in ("access_key", "secret_key", "project_id", "instance_id", "app_id"):
            monkeypatch.setenv(f"HEADWATER_{name.upper()}", access[name])
        monkeypatch.setenv("HEADWATER_ENDPOINT", service.address)
        exec(compile(program, str(PAGE), "exec"), {})
        assert capsys.readouterr().out == ""
        wait_until(lambda: target_database.rows("SELECT count(*) FROM orders") == [(500,)], 90, "the orders to arrive")
        source_database.run("UPDATE orders SET note = 'changed' WHERE id <= 10")
        wait_until(lambda: target_database.rows("SELECT count(*) FROM orders WHERE note = 'changed'") == [(10,)], 30, "the changes")
        assert service.stop() == 0
