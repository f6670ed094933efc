"""Prometheus metrics: names, units and meanings in one table, values read from the live reports when asked.

Nothing is counted here: a collector that reads at scrape time can't drift from what the monitors show, and forgets deleted tasks.
A sample that is not known is absent.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from headwater.domain.lifecycle import EXECUTE_STATUS
from headwater.ports.runtime import ApplyReport, CaptureReport
from headwater.services.vitals import CaptureSign, TaskSign, Vitals

Sample = tuple[tuple[str, ...], float]
TASK = ("task", "name")
SOURCE = ("source", "name")


@dataclass(frozen=True)
class Family:
    """One metric: `labels` name what a sample is of; `counter` where it only rises (from the run's start), else a gauge."""

    name: str
    unit: str
    meaning: str
    labels: tuple[str, ...]
    counter: bool = False


STATE = Family("headwater_task_state", "0 or 1", "1 for the state that the task is in.", (*TASK, "state"))
LAG = Family("headwater_task_lag_seconds", "seconds", "How far the target is behind the source. Absent while not known.", TASK)
LAG_TRANSACTIONS = Family(
    "headwater_task_lag_transactions", "transactions", "Transactions in the journal that the task has not applied yet.", TASK
)
ROWS = Family(
    "headwater_task_rows_total",
    "rows",
    "Rows since the run's start by operation: read from the journal, inserted, updated, deleted, copied, dirty (newly set aside).",
    (*TASK, "op"),
    counter=True,
)
DIRTY = Family("headwater_task_dirty_rows", "rows", "Rows that the target refused and that are set aside, open.", TASK)
TASK_RATE = Family("headwater_task_rows_per_second", "rows/s", "Rows that the task writes at the moment.", TASK)
TASK_TRANSACTIONS = Family(
    "headwater_task_transactions_total", "transactions", "Source transactions applied since the run's start.", TASK, counter=True
)
BEHIND = Family("headwater_capture_behind_bytes", "bytes", "Log of the source that capture has not read yet.", SOURCE)
CAPTURED_ROWS = Family("headwater_capture_rows_total", "rows", "Row changes captured since the capture's start.", SOURCE, counter=True)
CAPTURED_TRANSACTIONS = Family(
    "headwater_capture_transactions_total", "transactions", "Transactions captured since the capture's start.", SOURCE, counter=True
)
CAPTURE_RATE = Family("headwater_capture_rows_per_second", "rows/s", "Row changes that are captured at the moment.", SOURCE)
JOURNAL_BYTES = Family("headwater_journal_bytes", "bytes", "Size of the source's journal.", SOURCE)
EARLIEST = Family("headwater_window_earliest_seconds", "seconds since 1970, UTC", "Earliest commit that a reset can reach.", SOURCE)
LATEST = Family("headwater_window_latest_seconds", "seconds since 1970, UTC", "Latest commit in the journal.", SOURCE)

VERIFIED = Family(
    "headwater_verification_ended_seconds", "seconds since 1970, UTC", "When the task's last verification ended.", (*TASK, "outcome")
)
DIFFERENT = Family(
    "headwater_verification_different_rows", "rows", "Rows that the last verification found to differ and did not repair.", TASK
)

FAMILIES = (
    STATE, LAG, LAG_TRANSACTIONS, ROWS, DIRTY, TASK_RATE, TASK_TRANSACTIONS,
    BEHIND, CAPTURED_ROWS, CAPTURED_TRANSACTIONS, CAPTURE_RATE, JOURNAL_BYTES, EARLIEST, LATEST,
    VERIFIED, DIFFERENT,
)  # fmt: skip


class ReportCollector(Collector):
    """Yields every family, with samples where there is something to say."""

    def __init__(self, vitals: Vitals) -> None:
        self._vitals = vitals

    def collect(self) -> Iterable[Metric]:
        """One scrape."""
        samples: dict[Family, list[Sample]] = {family: [] for family in FAMILIES}
        for task in self._vitals.tasks():
            for family, labels, value in _of_task(task):
                samples[family].append(((task.task_id, task.name, *labels), value))
        for capture in self._vitals.captures():
            for family, value in _of_capture(capture):
                samples[family].append(((capture.data_source_id, capture.name), value))
        for family, found in samples.items():
            yield _metric(family, found)


def exposition(vitals: Vitals) -> bytes:
    """The text that Prometheus scrapes."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ReportCollector(vitals))
    return generate_latest(registry)


def _metric(family: Family, samples: list[Sample]) -> Metric:
    text = f"{family.meaning} Unit: {family.unit}."
    metric: CounterMetricFamily | GaugeMetricFamily
    if family.counter:
        metric = CounterMetricFamily(family.name, text, labels=family.labels)
    else:
        metric = GaugeMetricFamily(family.name, text, labels=family.labels)
    for labels, value in samples:
        metric.add_metric(labels, value)
    return metric


def _of_task(task: TaskSign) -> Iterator[tuple[Family, tuple[str, ...], float]]:
    for state in EXECUTE_STATUS:
        yield STATE, (state,), float(state == task.state)
    if task.report is not None:
        yield from _of_apply(task.report)
    if task.verified is not None and task.verified.ended_ms is not None:
        yield VERIFIED, (task.verified.outcome,), task.verified.ended_ms / 1000
        yield DIFFERENT, (), sum(table.different - table.repaired for table in task.verified.tables)


def _of_apply(report: ApplyReport) -> Iterator[tuple[Family, tuple[str, ...], float]]:
    if report.lag_ms is not None:
        yield LAG, (), report.lag_ms / 1000
    yield LAG_TRANSACTIONS, (), report.lag_transactions
    for op in ("read", "inserted", "updated", "deleted", "copied", "dirty"):
        yield ROWS, (op,), getattr(report, f"rows_{op}")
    yield DIRTY, (), report.dirty_open
    yield TASK_RATE, (), report.rows_per_s
    yield TASK_TRANSACTIONS, (), report.transactions


def _of_capture(capture: CaptureSign) -> Iterator[tuple[Family, float]]:
    report: CaptureReport = capture.report
    yield BEHIND, report.behind_bytes
    yield CAPTURED_ROWS, report.rows
    yield CAPTURED_TRANSACTIONS, report.transactions
    yield CAPTURE_RATE, report.rows_per_s
    yield JOURNAL_BYTES, report.journal_bytes
    if report.earliest_us is not None:
        yield EARLIEST, report.earliest_us / 1_000_000
    if report.latest_us is not None:
        yield LATEST, report.latest_us / 1_000_000
