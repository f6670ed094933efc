"""The source switches over by GTIDs: to a replica that has everything, and to one that lacks what was captured.

The first is gone along with. The second stops with the reason, and a reset without a time heals it (decisions 0019 and 0022).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headwater.clusters import MysqlServer
from tests.conftest import ClusterFactory
from tests.crash import replica, transfers
from tests.crash.stage import Setting, Stage, staged
from tests.databases import AnyDatabase, Database, MysqlDatabase, wait_until

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(600)]


def write_to(made: Stage[Any], server: MysqlServer) -> None:
    """Writers and checkers go to this server."""
    made.source = MysqlDatabase(server, made.source.name)
    for writer in made.writers:
        writer.source = made.source


def lead_to(made: Stage[Any], server: MysqlServer, by_address: bool) -> None:
    """Headwater goes there: the data source is changed, or what its name means."""
    if not by_address:
        made.doors["source"].lead((server.host, server.port))
        return
    made.headwater.call("stop", made.task_id)
    made.headwater.wait_for(made.task_id, "stopped")
    content = {**made.content("source"), "host": server.host, "port": str(server.port)}
    made.headwater.update_data_source(made.ids["source"], "source", made.source.type, content)
    made.headwater.call("start", made.task_id)


@pytest.mark.parametrize(("flavour", "by_address"), [("mariadb", False), ("mysql", True)], ids=["name-moved", "data-source-changed"])
def test_a_switch_over_p1_p3_p7(
    flavour: str, by_address: bool, tmp_path: Path, request: pytest.FixtureRequest, make_cluster: ClusterFactory
) -> None:
    factory: Callable[..., MysqlServer] = request.getfixturevalue(f"make_{flavour}")
    settings = replica.MARIADB if flavour == "mariadb" else replica.MYSQL
    first, second = factory(settings=settings), factory(settings=settings)
    replica.follow(second, first)
    source: AnyDatabase = MysqlDatabase.create(first, "bank")
    source.run("CREATE TABLE gaps (id int PRIMARY KEY)")
    with staged(tmp_path, source, Database.create(make_cluster(), "copy"), Setting(archive_rows=4_000)) as made:
        replica.leave_gaps(first, "bank.gaps")
        made.await_moved_on()
        with replica.frozen(first):
            replica.caught_up(first, second)
            first.kill()
        replica.stop_following(second)
        write_to(made, second)
        lead_to(made, second, by_address)
        print(f"went on {made.await_moved_on():.1f} s after the switch-over")
        assert made.target.rows(transfers.TWICE) == [], "nothing may be put in twice"

        first.start()
        replica.follow(first, second)
        replica.caught_up(second, first)
        replica.stop_following(first)
        made.await_moved_on()  # captured from the second, and unknown to the first
        second.kill()
        write_to(made, first)
        before = [writer.made for writer in made.writers]
        wait_until(lambda: all(w.made > n for w, n in zip(made.writers, before, strict=True)), 60, "the first having gone further")
        lead_to(made, first, by_address)
        assert "lacks what was captured" in made.await_failed("slot_lost")
        assert made.headwater.reset(made.task_id, None) == ""
        made.await_moved_on()
        made.finish(ledger=False)
