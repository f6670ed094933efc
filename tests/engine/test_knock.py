"""Knocking at servers that are away: who answers again is told once, and nobody knocks where nobody waits."""

from __future__ import annotations

import threading

import pytest

from headwater.domain.errors import SourceError
from headwater.engine.knock import Knocker
from tests.databases import wait_until


class Door:
    """A server that answers or not."""

    def __init__(self, answers: bool) -> None:
        self.answers = answers
        self.knocks = 0

    def __call__(self) -> None:
        self.knocks += 1
        if not self.answers:
            raise SourceError("away")


@pytest.fixture
def knocker() -> Knocker:
    return Knocker(knock_s=0.005)


def test_a_server_that_comes_back_is_told(knocker: Knocker) -> None:
    door, told = Door(answers=False), threading.Event()
    knocker.on_answer = told.set
    assert knocker.watch({"s": door}) == {}
    wait_until(lambda: door.knocks >= 2)
    assert not told.is_set()
    door.answers = True
    assert told.wait(10)
    assert list(knocker.watch({"s": door})) == ["s"]
    knocker.close()


def test_a_server_that_answers_all_the_time_is_no_news(knocker: Knocker) -> None:
    door = Door(answers=True)
    knocker.watch({"s": door})
    wait_until(lambda: door.knocks >= 3)
    assert knocker.watch({"s": door}) == {}
    knocker.close()


@pytest.mark.parametrize("closed", [False, True])
def test_knocking_ends(closed: bool, knocker: Knocker) -> None:
    door = Door(answers=False)
    knocker.watch({"s": door})
    wait_until(lambda: door.knocks >= 1)
    if closed:
        knocker.close()
    else:
        assert knocker.watch({}) == {}
    wait_until(lambda: not any(thread.name == "knock-s" for thread in threading.enumerate()))
