"""Following at 500 transactions per second while a second task on the same source replays its whole history, again and again."""

from __future__ import annotations

import threading
from typing import Self

from bench import workload
from bench.backlog import fresh_target
from bench.latency import PER_S, SECONDS, measure
from bench.measure import Figures, Row, percentile
from bench.options import Options
from bench.servers import Servers
from bench.workers import Pipeline, slot_name

SOURCE_ID = "beside"
TABLE, AGAIN = "latency", "latency_again"
TRANSACTIONS = 10_000
LIMIT_MS = 2000.0


def run(servers: Servers, options: Options) -> list[Row]:
    """The row."""
    transactions, count = options.of(TRANSACTIONS), options.of(SECONDS * PER_S)
    slot, last = slot_name(SOURCE_ID), workload.FEW_KEYS - 1
    workload.make_table(servers.on_source, TABLE)
    workload.fill(servers.on_source, TABLE, 0, last)
    for table in (TABLE, AGAIN):
        fresh_target(servers, table, 0, last)
    servers.publish(slot, TABLE)
    servers.make_slot(slot)
    workload.few_keys(servers.on_source, TABLE, transactions)
    beside, alone, replays = Figures("beside a replay, p99", "ms"), Figures("alone, p99", "ms"), Figures("replays meanwhile", "")
    with Pipeline(servers, SOURCE_ID, TABLE) as pipeline, Pipeline(servers, SOURCE_ID, TABLE, AGAIN) as other:
        other.journal, other.task_id = pipeline.journal, "task-again"
        journal_id = pipeline.make_journal()
        for each in (pipeline, other):
            each.place_task(journal_id)
        workers = [pipeline.start_capture(), pipeline.start_apply()]
        pipeline.applied(transactions)
        first, epoch = workload.FEW_KEYS, 1
        for _ in range(options.runs):
            alone.values.append(percentile(measure(servers, count, first)[0], 0.99))
            with Replays(other, journal_id, epoch, transactions) as replaying:
                beside.values.append(percentile(measure(servers, count, first + count)[0], 0.99))
            first, epoch = first + 2 * count, replaying.epoch
            replays.values.append(replaying.done)
        for worker in workers:
            pipeline.stop(worker)
    servers.drop_slot(slot)
    changes = transactions * workload.ROWS_PER_TRANSACTION
    what = f"commit to visible at {PER_S} transactions/s beside a task that replays {changes:,} changes, p99"
    return [Row(what, beside, alone, f"<= {LIMIT_MS:g} ms", beside.median <= LIMIT_MS, more=[replays])]


class Replays(threading.Thread):
    """Resets the task to its beginning, lets it replay to where the history ended, and again, until left. `done` counts whole ones."""

    def __init__(self, pipeline: Pipeline, journal_id: str, epoch: int, transactions: int) -> None:
        super().__init__(daemon=True)
        self._pipeline, self._journal_id, self._transactions = pipeline, journal_id, transactions
        self._left = threading.Event()
        self._error: Exception | None = None
        self.epoch, self.done = epoch, 0.0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self.join()
        if self._error is not None:
            raise self._error

    def run(self) -> None:
        """See `threading.Thread.run`."""
        try:
            while not self._left.is_set():
                self.epoch += 1
                self._pipeline.reset_task(self._journal_id, self.epoch)
                apply = self._pipeline.start_apply(self.epoch)
                self._pipeline.applied(self._transactions)
                self._pipeline.stop(apply)
                self.done += 1
        except Exception as error:  # noqa: BLE001 - raised where the figures are asked for
            self._error = error
