"""Tables that change without a word in the log: capture says which, apply copies them again, and a restart forgets nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.domain.errors import SourceError
from headwater.engine.followed import FileNote, Followed, Known, MemoryNote
from headwater.ports.source import Finding
from tests.databases import wait_until
from tests.engine.workbench import ACCOUNTS, NOTES, Workbench

N = NOTES.table
STALE = str(N)


def followed(bench: Workbench, note: MemoryNote | None = None) -> Followed:
    """What a capture starts with."""
    made = Followed(bench.source, [m.source for m in bench.mappings], bench.journal.writer(), note or bench.note, 0)
    made.publish()
    made.mark()
    return made


def test_what_changed_is_stale_from_a_place_of_its_own_and_stays_so_after_a_restart() -> None:
    bench = Workbench()
    tables = followed(bench)
    tables.look()
    assert not tables.stale
    bench.source.outside[N] = 1
    tables.look()
    assert tables.stale == {STALE: 1}
    assert bench.journal.end().next_offset == 1
    tables.look()
    assert followed(bench).stale == {STALE: 1}
    bench.source.outside[N] = 2  # while nothing runs
    assert followed(bench).stale == {STALE: 2}


def test_what_still_keeps_changes_from_us_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Workbench()
    tables = followed(bench)
    bench.source.outside[N] = 1
    monkeypatch.setattr(bench.source, "check", lambda _tables: [Finding("It lacks updates.", "Add them."), Finding("And rows.", "Too.")])
    for _ in range(2):
        with pytest.raises(SourceError, match=r"It lacks updates\. Add them\. And rows\. Too\.") as caught:
            tables.look()
        assert caught.value.kind == "source_refused"


def test_a_running_apply_copies_a_stale_table_again_and_only_that_one() -> None:
    bench = Workbench()
    with bench.source.transaction() as t:
        t.insert(N, id=1, text="a")
        t.insert(ACCOUNTS.table, id=1, owner="a", amount=1)
    with bench.capturing(), bench.applying() as running:
        wait_until(bench.copied, what="the copy is complete")
        bench.source.state[N][(b"2",)] = {"id": b"2", "text": b"without a word in the log"}
        with bench.source.transaction() as t:
            t.insert(ACCOUNTS.table, id=2, owner="b", amount=1)
        bench.await_applied()
        assert not bench.equal()
        running.control.tell({"stale": {STALE: bench.journal.end().next_offset}})
        bench.await_equal()
        wait_until(bench.copied, what="the copy is complete")
        states = bench.target.look("task")[1]
        assert states["m-notes"].since > states["m-accounts"].since


def test_the_note_beside_the_journal_is_read_back(tmp_path: Path) -> None:
    note = FileNote(tmp_path)
    known = Known(frozenset({"a.b"}), (("a.b", 1),), (("c.d", 2),), (("c.d", "mark"),))
    note.write(known)
    assert note.read() == known
