"""The model between two real databases, or from the scripted source into a real one: `between`. Histories are drawn by `play`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Self

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from headwater.dialects.mysql_session import Server
from headwater.engine import capture as capture_module
from headwater.ports.source import Source
from headwater.ports.target import Target
from headwater.targets.mysql import MysqlTarget
from headwater.testing import FaultScript, MovedClock
from tests.databases import AnyDatabase, Database, MysqlDatabase
from tests.model.model_world import TABLES, TOAST, ModelSource, Sides, World, target_tables, without_waiting
from tests.model.real_source import RealSource
from tests.model.real_target import real_target
from tests.model.test_model import Model
from tests.sources import mysql_places, postgres_logs
from tests.targets import test_postgres_target

Open = Callable[[int, ExitStack], Sides]
"""Makes fresh sides; the stack closes them."""

TAKE_TIMEOUT_S = 0.02
"""How long one look for the next word of a real log lasts."""


def source_of(database: AnyDatabase) -> Source:
    """The adapter that reads from a database."""
    if isinstance(database, MysqlDatabase):
        return mysql_places.source_of(database)
    assert isinstance(database, Database)
    return postgres_logs.source_of(database)


def target_of(database: AnyDatabase) -> Target:
    """The adapter that writes to a database."""
    if isinstance(database, MysqlDatabase):
        server = database.cluster
        return MysqlTarget(Server(server.host, server.port, database.name, server.user, server.password))
    assert isinstance(database, Database)
    return test_postgres_target.target_of(database)


def between(source: AnyDatabase | None, target: AnyDatabase) -> Open:
    """From one database, or from the scripted source, into another one. What is made on the way is removed again."""

    def sides(part_rows: int, stack: ExitStack) -> Sides:
        faults = FaultScript()
        made: ModelSource = ModelSource(TABLES.values(), MovedClock(), faults, TOAST, part_rows=part_rows, group=3)
        if source is not None:
            made = stack.enter_context(closing(RealSource(source, source_of(source), faults)))
        goal = stack.enter_context(closing(real_target(target, target_of(target), target_tables(), faults)))
        return Sides(faults, made.clock, made, goal)

    return sides


RULES = (
    *("transact", "run") * 5,
    *("capture", "reset", "reset_under_a_run", "run_with_a_bad_connection", "follow_strict_rows") * 2,
    *(
        "reset_from_the_beginning",
        "lose_the_slot",
        "use_up_the_slots",
        "lose_snapshots",
        "discard",
        "restart",
        "accident",
        "forget_history",
    ),
)
"""What happens, as often as it stands here. Hypothesis itself would take some of them only, as is good for many short histories."""


def play(open_sides: Open, number: int, histories: int, steps: int) -> None:
    """Play so many histories of so many steps, drawn by a number. The first one that fails ends it, and is told step by step."""
    known = Model().setup_state()
    arguments = {rule.function.__name__: rule.arguments for rule in known.rules}
    (begin,) = [rule.arguments for rule in known.initializers]

    @seed(number)
    @settings(max_examples=histories + 1, deadline=None, database=None, phases=(Phase.generate,), suppress_health_check=list(HealthCheck))
    @given(st.data())
    def history(data: st.DataObject) -> None:
        if not data.draw(st.integers(0, 1 << 20)):
            return  # the simplest of all, which is always tried first
        with Played(open_sides) as played:
            played.begin(**{name: data.draw(one, name) for name, one in begin.items()})
            for _ in range(steps):
                rule = data.draw(st.sampled_from(RULES), "rule")
                getattr(played, rule)(**{name: data.draw(one, name) for name, one in arguments[rule].items()})
                played.always()
            played.settle()

    with unhurried():
        history()


class Played(Model):
    """The model over sides that are to be closed."""

    def __init__(self, open_sides: Open) -> None:
        super().__init__()
        self._open_sides, self._stack = open_sides, ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def open_world(self, part_rows: int, rows_max: int) -> World:
        """See `Model`."""
        return World(part_rows, rows_max, self._open_sides(part_rows, self._stack))


@contextmanager
def unhurried() -> Iterator[None]:
    """Nothing waits, but for words of a real log."""
    with pytest.MonkeyPatch.context() as patch:
        without_waiting(patch)
        patch.setattr(capture_module, "TAKE_TIMEOUT_S", TAKE_TIMEOUT_S)
        yield
