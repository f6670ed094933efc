"""Verification over the fakes: what is found, what is not mistaken for a difference, what a repair does, and how it ends.

The same on real servers, with real types and under load: tests/integration/test_verify.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from headwater.domain.errors import JournalError, OutOfWindow
from headwater.domain.mapping import ColumnPair
from headwater.domain.tables import Column, TableName, TableSchema
from headwater.engine.control import Control, SystemClock
from headwater.engine.orders import VerifyLoad
from headwater.engine.verify import VerifyJob, verify
from headwater.ports.runtime import VerifiedTable, VerifyReport
from tests.databases import wait_until
from tests.engine.workbench import ACCOUNTS, NOTES, Running, Workbench, mapping

A = ACCOUNTS.table
ROWS = 95


@pytest.fixture
def bench() -> Workbench:
    """A source with some rows, nothing started."""
    made = Workbench()
    with made.source.transaction() as t:
        for i in range(ROWS):
            t.insert(A, id=i, owner=f"owner {i}", amount=i * 10)
        t.insert(NOTES.table, id=1, text="a note")
    return made


@contextmanager
def followed(bench: Workbench) -> Iterator[Running]:
    """The task runs, and has applied everything."""
    with bench.capturing(), bench.applying() as running:
        settle(bench)
        yield running


def settle(bench: Workbench) -> None:
    """Wait until everything is copied and applied."""
    wait_until(bench.copied, what="copied")
    bench.await_equal()
    bench.await_applied()


def plant(bench: Workbench, change: Callable[[dict[tuple[bytes | None, ...], dict[str, bytes | None]]], object]) -> None:
    """Change the rows of the target's accounts behind the task's back."""
    with bench.target.lock:
        table = bench.target.tables_by_name[A].copy()
        change(table.rows)
        bench.target.tables_by_name[A] = table


def accounts(report: VerifyReport) -> VerifiedTable:
    """What was found in the accounts."""
    return report.tables[0]


def test_equal_tables_are_proved_equal_up_to_the_checkpoint(bench: Workbench) -> None:
    with followed(bench):
        report = bench.verify()
        place = bench.target.place("task")
    assert report.outcome == "equal"
    assert [(t.state, t.rows) for t in report.tables] == [("equal", ROWS), ("equal", 1)]
    assert place is not None
    assert report.offset == place.offset


def test_each_kind_of_difference_is_found_with_its_key(bench: Workbench) -> None:
    def damage(rows: dict[tuple[bytes | None, ...], dict[str, bytes | None]]) -> None:
        del rows[b"3",]
        rows[b"1000",] = {"id": b"1000", "owner": b"nobody", "amount": None}
        rows[b"50",]["amount"] = b"501"
        rows[b"60",]["owner"] = b""
        rows[b"61",]["owner"], rows[b"61",]["amount"] = rows[b"61",]["amount"], rows[b"61",]["owner"]
        rows[b"70",]["owner"], rows[b"71",]["owner"] = rows[b"71",]["owner"], rows[b"70",]["owner"]

    with followed(bench):
        with bench.source.transaction() as t:
            t.update(A, [60], owner=None)
        bench.await_equal()
        plant(bench, damage)
        report = bench.verify()
    assert report.outcome == "different"
    found = {(one.key, one.kind) for one in accounts(report).keys}
    changed = {((key,), "differing") for key in ("50", "60", "61", "70", "71")}
    assert found == {(("3",), "missing"), (("1000",), "extra"), *changed}
    assert (accounts(report).missing, accounts(report).extra, accounts(report).differing) == (1, 1, 5)


def test_rows_that_move_are_no_differences(bench: Workbench) -> None:
    over = threading.Event()

    def work() -> None:
        i = 0
        while not over.is_set():
            i += 1
            with bench.source.transaction() as t:
                t.update(A, [i % ROWS], amount=i)
                t.insert(A, id=10_000 + i, owner="new", amount=i)
                if i > 20:
                    t.delete(A, [10_000 + i - 20])
            over.wait(0.002)

    with followed(bench):
        worker = threading.Thread(target=work)
        worker.start()
        try:
            reports = [bench.verify(bench.verify_job(load=VerifyLoad(10, 0.0, settle_s=4.0))) for _ in range(2)]
        finally:
            over.set()
            worker.join()
    assert [(accounts(r).missing, accounts(r).extra, accounts(r).differing) for r in reports] == [(0, 0, 0)] * 2


def test_a_difference_is_found_beneath_rows_that_move(bench: Workbench) -> None:
    over = threading.Event()

    def work() -> None:
        i = 0
        while not over.wait(0.002):
            i += 1
            with bench.source.transaction() as t:
                t.update(A, [i % 40], amount=i)

    with followed(bench):
        plant(bench, lambda rows: rows[b"50",].update(amount=b"wrong"))
        worker = threading.Thread(target=work)
        worker.start()
        try:
            report = bench.verify(bench.verify_job(load=VerifyLoad(10, 0.0, settle_s=4.0)))
        finally:
            over.set()
            worker.join()
    assert [(one.key, one.kind) for one in accounts(report).keys] == [(("50",), "differing")]


def test_a_stopped_task_differs_only_where_nothing_has_changed_since(bench: Workbench) -> None:
    with bench.capturing():
        with bench.applying():
            settle(bench)
        with bench.source.transaction() as t:
            t.update(A, [1], amount=7)
            t.delete(A, [2])
            t.insert(A, id=2000, owner="later", amount=1)
        plant(bench, lambda rows: rows[b"50",].update(amount=b"wrong"))
        wait_until(lambda: bench.journal.end().position == str(len(bench.source.log)), what="captured")
        report = bench.verify(running=False)
    assert [(one.key, one.kind) for one in accounts(report).keys] == [(("50",), "differing")]
    assert accounts(report).unsettled == 3
    assert "stopped" not in report.outcome
    assert "stopped task" in accounts(report).message


def test_a_stopped_task_that_lags_is_not_called_different(bench: Workbench) -> None:
    with bench.capturing():
        with bench.applying():
            settle(bench)
        with bench.source.transaction() as t:
            t.truncate(A)
            t.insert(A, id=1, owner="only", amount=1)
        wait_until(lambda: bench.journal.end().position == str(len(bench.source.log)), what="captured")
        report = bench.verify(running=False)
    assert report.outcome == "unsettled"
    assert accounts(report).different == 0
    assert accounts(report).state == "unsettled"


def test_a_mapping_that_is_not_copied_is_not_compared(bench: Workbench) -> None:
    with bench.capturing():
        report = bench.verify(running=False)
    assert report.outcome == "unsettled"
    assert {t.state for t in report.tables} == {"not_compared"}
    assert "not copied yet" in accounts(report).message


def test_a_running_task_is_waited_for_until_it_is_copied(bench: Workbench) -> None:
    control = Control()
    control.tell({"running": True})
    with bench.capturing():
        thread = threading.Thread(target=verify, args=(bench.verify_job(), control, SystemClock()), daemon=True)
        thread.start()
        wait_until(lambda: control.report is not None and control.report.state == "waiting", what="it waits")
        with bench.applying():
            thread.join(20)
    assert isinstance(control.report, VerifyReport)
    assert control.report.outcome == "equal"


def test_keys_are_capped_and_counts_are_not(bench: Workbench) -> None:
    with followed(bench):
        plant(bench, lambda rows: [row.update(amount=b"0.5") for row in rows.values()])
        report = bench.verify(bench.verify_job(load=VerifyLoad(10, 0.0, keys_max=7)))
    assert accounts(report).differing == ROWS
    assert len(accounts(report).keys) == 7


def test_an_empty_side_and_a_crowded_one(bench: Workbench) -> None:
    with followed(bench):
        plant(bench, lambda rows: rows.clear())
        assert accounts(bench.verify()).missing == ROWS
        plant(
            bench,
            lambda rows: rows.update(
                {(str(i).encode(),): {"id": str(i).encode(), "owner": None, "amount": None} for i in range(1000, 1500)}
            ),
        )
        crowded = accounts(bench.verify())
        assert (crowded.missing, crowded.extra) == (ROWS, 500)


def test_operations_that_are_not_replicated_make_no_differences(bench: Workbench) -> None:
    bench.mappings = [mapping(ACCOUNTS, operations=frozenset({"INSERT"}))]
    with followed(bench):
        plant(bench, lambda rows: rows.update({(b"1000",): {"id": b"1000", "owner": b"kept", "amount": None}}))
        plant(bench, lambda rows: rows[b"5",].update(amount=b"changed here"))
        assert bench.verify().outcome == "equal"
        plant(bench, lambda rows: rows.pop((b"6",)))
        assert [(k.key, k.kind) for k in accounts(bench.verify()).keys] == [(("6",), "missing")]


def test_rows_of_other_mappings_in_a_shared_table_are_no_differences(bench: Workbench) -> None:
    with followed(bench):
        plant(bench, lambda rows: rows.update({(b"1000",): {"id": b"1000", "owner": b"theirs", "amount": None}}))
        assert bench.verify().outcome == "different"
        assert bench.verify(bench.verify_job(shared=frozenset({"m-accounts"}))).outcome == "equal"


def test_only_mapped_columns_are_compared(bench: Workbench) -> None:
    narrow = replace(mapping(ACCOUNTS), columns=(ColumnPair("id", "id", True), ColumnPair("owner", "owner")))
    bench.mappings = [narrow, mapping(NOTES)]
    with bench.capturing(), bench.applying():
        wait_until(bench.copied, what="copied")
        bench.await_applied()
        plant(bench, lambda rows: rows[b"5",].update(amount=b"local"))
        assert bench.verify().outcome == "equal"


def test_a_table_without_a_key_is_compared_as_a_whole(bench: Workbench) -> None:
    table = TableSchema(TableName("public", "events"), (Column("what", "text"), Column("n", "text")))
    bench.source.add_table(table)
    bench.target.tables_by_name[table.table] = type(bench.target.tables_by_name[A])(table)
    bench.mappings = [mapping(table)]
    with bench.source.transaction() as t:
        for i in range(10):
            t.insert(table.table, what="x", n=i % 3)
    with bench.capturing(), bench.applying():
        wait_until(bench.copied, what="copied")
        bench.await_applied()
        assert bench.verify().outcome == "equal"
        with bench.target.lock:
            held = bench.target.tables_by_name[table.table]
            held.insert({"what": b"x", "n": b"0"})  # one too many of a row that is there several times
        report = bench.verify()
    assert report.outcome == "different"
    assert "10 rows at the source, 11 at the target" in report.tables[0].message


@contextmanager
def repairing(bench: Workbench, apply: Running, job: VerifyJob) -> Iterator[Control]:
    """A verification in a thread whose wishes reach the apply, as the supervisor passes them on."""
    control, sent = Control(), []

    def forward(report: object) -> None:
        if isinstance(report, VerifyReport) and report.ask is not None and report.ask not in sent:
            sent.append(report.ask)
            apply.control.tell({"repair": {"number": report.ask.number, "mapping_id": report.ask.mapping_id, "keys": report.ask.keys}})

    control = Control(forward)
    control.tell({"running": True})
    thread = threading.Thread(target=verify, args=(job, control, SystemClock()), daemon=True)
    thread.start()
    try:
        yield control
        thread.join(30)
        assert not thread.is_alive()
    finally:
        control.tell({"stop": True})


def test_a_repair_makes_the_target_equal_while_the_task_runs(bench: Workbench) -> None:
    def damage(rows: dict[tuple[bytes | None, ...], dict[str, bytes | None]]) -> None:
        del rows[b"3",]
        rows[b"1000",] = {"id": b"1000", "owner": b"nobody", "amount": None}
        rows[b"50",]["amount"] = b"501"

    with followed(bench) as apply:
        plant(bench, damage)
        before = bench.target.place("task")
        with repairing(bench, apply, bench.verify_job(repair=True)) as control:
            pass
        assert bench.equal()
        assert bench.target.place("task") == before  # a repair never moves the checkpoint backward, nor forward
        assert bench.verify().outcome == "equal"
    assert isinstance(control.report, VerifyReport)
    assert control.report.outcome == "repaired"
    assert {(k.key[0], k.kind, k.repaired) for k in accounts(control.report).keys} == {
        ("3", "missing", True), ("1000", "extra", True), ("50", "differing", True),
    }  # fmt: skip


def test_a_repair_leaves_rows_that_move_to_the_task(bench: Workbench) -> None:
    """The row changes after the checkpoint and before the repair reads it: writing what the source has then would bring the future (P2)."""
    seen: list[tuple[int | None, bytes | None]] = []

    def change() -> None:
        with bench.source.transaction() as t:
            t.update(A, [50], amount=77)

    with followed(bench) as apply:
        plant(bench, lambda rows: rows[b"50",].update(amount=b"wrong", owner=b"wrong"))
        before = bench.target.place("task")
        assert before is not None
        bench.target.on_commit.append(lambda _, place: seen.append((place.offset, bench.target.tables_by_name[A].rows[b"50",]["amount"])))
        bench.source.faults.before("source.values", change)
        apply.control.tell({"repair": {"number": 1, "mapping_id": "m-accounts", "keys": (("50",),)}})
        wait_until(bench.equal, what="the change is applied")
    assert seen
    assert [amount for offset, amount in seen if offset == before.offset and amount == b"77"] == []


def test_without_its_apply_nothing_is_repaired(bench: Workbench) -> None:
    with bench.capturing():
        with bench.applying():
            settle(bench)
        plant(bench, lambda rows: rows.pop((b"3",)))
        report = bench.verify(bench.verify_job(repair=True), running=False)
    assert report.outcome == "different"
    assert accounts(report).repaired == 0


def test_a_history_that_is_gone_ends_it_with_the_reason(bench: Workbench) -> None:
    with followed(bench):
        place = bench.target.places["task"]
        place.checkpoint = replace(place.checkpoint, journal_id="another")
        with pytest.raises(OutOfWindow, match="not there any more"):
            bench.verify()


def test_a_journal_that_stands_still_ends_it(bench: Workbench) -> None:
    with bench.capturing(), bench.applying():
        settle(bench)
    with bench.source.transaction() as t:
        t.update(A, [1], amount=1)
    control = Control()
    control.tell({"running": False})
    thread = threading.Thread(target=lambda: verify(bench.verify_job(), control, SystemClock()), daemon=True)
    thread.start()
    thread.join(0.5)
    assert thread.is_alive()  # it waits for the capture, and can be stopped meanwhile
    control.tell({"stop": True})
    thread.join(5)
    assert not thread.is_alive()


def test_a_damaged_place_in_the_journal_is_an_error(bench: Workbench) -> None:
    with bench.capturing():
        with bench.applying():
            settle(bench)
        with bench.source.transaction() as t:
            t.update(A, [1], amount=1)
        wait_until(lambda: bench.journal.end().position == str(len(bench.source.log)), what="captured")
        bench.faults.before("journal.read", JournalError("damaged"))
        with pytest.raises(JournalError):
            bench.verify(running=False)
