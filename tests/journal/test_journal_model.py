"""A journal against a list: random appends, parts, breaks, drops and reopenings; every question gets the list's answer."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from headwater.journal import open_reader, open_writer
from headwater.ports.journal import Retention
from tests.journal import histories

NEVER = 1 << 60


class JournalModel(RuleBasedStateMachine):
    """The model: the end, and how far the unfinished transaction is; all else follows from the offsets."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp())
        self.writer, self.next, self.parts = open_writer(self.directory), 0, 0

    @initialize()
    def open(self) -> None:
        self.reader = open_reader(self.directory)

    @precondition(lambda self: not self.parts)
    @rule(counts=st.lists(st.integers(1, 30), min_size=1, max_size=3))
    def append(self, counts: list[int]) -> None:
        frames, at = [], self.next
        for count in counts:
            frames.append(histories.whole(range(at, at + count)))
            at += count
        self.next = self.writer.append(frames, f"{at}", at)
        assert self.next == at

    @precondition(lambda self: not self.parts)
    @rule(count=st.integers(5, 40))
    def append_singly(self, count: int) -> None:
        for _ in range(count):
            self.next = self.writer.append([histories.whole([self.next])], f"{self.next}", self.next)

    @rule()
    def append_part(self) -> None:
        part = histories.parts(self.next)[self.parts]
        self.next = self.writer.append([part], f"{self.next}", self.next)
        self.parts = 0 if part.last else self.parts + 1

    @rule()
    def break_history(self) -> None:
        self.writer.break_history("p", "broken", 0)
        self.next, self.parts = self.next + 1, 0

    @rule()
    def reopen(self) -> None:
        self.writer.close()
        self.writer, self.parts = open_writer(self.directory), 0

    @rule(needed=st.one_of(st.none(), st.integers(0, 500)), stamp=st.integers(0, 500))
    def retain(self, needed: int | None, stamp: int) -> None:
        before = self.reader.window()
        dropped = self.writer.retain(Retention(0, NEVER, NEVER), needed, histories.stamp_of(stamp))
        after = self.reader.window()
        assert after.first_offset >= before.first_offset
        assert (after.earliest_us or 0) >= (before.earliest_us or 0)
        if needed is not None and after.first_offset > before.first_offset:
            assert after.first_offset <= needed
        if dropped == 0:
            assert after == before

    @invariant()
    def tells_the_truth(self) -> None:
        if not hasattr(self, "reader"):
            return
        window = self.reader.window()
        assert window.next_offset == self.next == self.reader.end().next_offset == self.writer.end().next_offset
        assert histories.check(list(self.reader.read(window.first_offset)), window.first_offset) == self.next
        held = range(window.first_offset, self.next)
        for offset in [*held[:2], *held[-2:]]:
            assert self.reader.stamp(offset) == histories.stamp_of(offset)
        self._seeks_right(window.earliest_us, held)

    def _seeks_right(self, earliest_us: int | None, held: range) -> None:
        if earliest_us is None:
            return
        for offset in [*held[:3], *held[-3:]]:
            for time_us in (histories.stamp_of(offset), histories.stamp_of(offset) + 1):
                if time_us >= earliest_us:
                    assert self.reader.seek(time_us) == next((o for o in held if histories.stamp_of(o) >= time_us), self.next)

    def teardown(self) -> None:
        self.reader.close()
        self.writer.close()
        shutil.rmtree(self.directory)


TestJournalModel = JournalModel.TestCase
TestJournalModel.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
