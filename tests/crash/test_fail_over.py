"""The source fails over to a standby: with the slot kept there, with the slot lost, and with changes lost that had been captured.

Only the first one goes on by itself. The others stop and say why, and a reset without a time heals them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from headwater.clusters import PrivatePostgres
from tests.conftest import BOTH, INSTALLATIONS
from tests.crash.stage import Setting, Stage, stage
from tests.crash.standby import STANDBY_SLOT, Standby, caught_up
from tests.databases import Database

pytestmark = [pytest.mark.crash, pytest.mark.slow, pytest.mark.timeout(600)]

KEEPING = [one for one in INSTALLATIONS if one.version[0] >= 17][-1:]
needs_kept_slots = pytest.mark.skipif(not KEEPING, reason="standbys keep logical slots from PostgreSQL 17 on")


@pytest.fixture
def servers() -> Iterator[ExitStack]:
    """Ends every server of a test."""
    with ExitStack() as stack:
        yield stack


def follow_standby(made: Stage, standby: Standby, by_address: bool = False) -> None:
    """Writers, checkers and Headwater go on at the promoted standby: the door leads there, or the data source is changed."""
    made.source = Database(standby, made.source.name)
    for writer in made.writers:
        writer.source = made.source
    if not by_address:
        made.doors["source"].lead((standby.host, standby.port))
        return
    made.headwater.call("stop", made.task_id)
    made.headwater.wait_for(made.task_id, "stopped")
    content = {**made.content("source"), "host": standby.host, "port": str(standby.port)}
    made.headwater.update_data_source(made.ids["source"], "source", made.source.type, content)
    made.headwater.call("start", made.task_id)


@needs_kept_slots
@pytest.mark.parametrize("by_address", [False, True], ids=["name-moved", "data-source-changed"])
def test_a_promoted_standby_that_kept_the_slot_is_gone_along_with(by_address: bool, tmp_path: Path, servers: ExitStack) -> None:
    primary = servers.enter_context(PrivatePostgres(KEEPING[0]))
    standby = servers.enter_context(Standby(primary))
    primary.restart(settings={"synchronized_standby_slots": f"'{STANDBY_SLOT}'"})
    with stage(tmp_path, primary, servers.enter_context(PrivatePostgres(BOTH[0])), Setting()) as made:
        standby.await_slot()
        made.await_moved_on()
        primary.kill()
        standby.promote()
        follow_standby(made, standby, by_address)
        print(f"went on {made.await_moved_on():.1f} s after the fail-over")
        made.finish()


def test_a_promoted_standby_without_the_slot_stops_the_task_p7(tmp_path: Path, servers: ExitStack) -> None:
    primary = servers.enter_context(PrivatePostgres(BOTH[0]))
    standby = servers.enter_context(Standby(primary))
    with stage(tmp_path, primary, servers.enter_context(PrivatePostgres(BOTH[-1])), Setting()) as made:
        caught_up(primary, standby)
        primary.kill()
        standby.promote()
        follow_standby(made, standby)
        message = made.await_failed("slot_lost")
        assert "it is gone" in message
        assert made.headwater.reset(made.task_id, None) == ""
        made.await_moved_on()
        made.finish(ledger=False)


@needs_kept_slots
def test_a_promoted_standby_that_lacks_what_was_captured_stops_the_task_p7(tmp_path: Path, servers: ExitStack) -> None:
    """An asynchronous standby that was away while the last changes were made: they are in the target, and nowhere else."""
    primary = servers.enter_context(PrivatePostgres(KEEPING[0]))
    standby = servers.enter_context(Standby(primary))
    with stage(tmp_path, primary, servers.enter_context(PrivatePostgres(BOTH[0])), Setting()) as made:
        standby.await_slot()
        standby.stop()
        made.await_moved_on()
        primary.kill()
        standby.start()
        standby.promote()
        follow_standby(made, standby)
        message = made.await_failed("slot_lost")
        assert "was promoted at" in message
        assert made.headwater.reset(made.task_id, None) == ""
        made.await_moved_on()
        made.finish(ledger=False)
