"""What happens in the demo, in order, and what is said about it."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from types import FrameType
from typing import Any

from headwater.client import ApiError, Client, Unreachable
from headwater.clusters import ClusterError
from headwater.demo import shop
from headwater.demo.compare import compare
from headwater.demo.life import ACCIDENT, NONSENSE, Life
from headwater.demo.screen import Bars, Screen
from headwater.demo.sides import FAILURES, Session, Side
from headwater.demo.stage import DemoFailed, Stage

COPY_TIMEOUT_S = 120.0
CATCH_UP_TIMEOUT_S = 60.0
LIVE_S = 6.0
LOOK_S = 0.15
LIFE_PER_S = 150.0
GENTLE_PER_S = 5.0
INTERRUPTED = 130
KINDS = ("inserted", "updated", "deleted")

Json = dict[str, Any]


def run(*, once: bool, source: str = "postgres", target: str = "postgres") -> int:
    """Play the demo between two kinds of databases (see `sides.side`). `once` ends by itself.

    Returns the exit status: 0 where source and target are equal at the end."""
    screen = Screen()
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        stage = Stage(screen.answered, source, target)
    except ClusterError as error:
        screen.bad(f"The demo can't begin: {error}")
        return 1
    with stage:
        try:
            return Story(stage, screen).tell(once)
        except KeyboardInterrupt:
            screen.say("\nStopping: the service, both servers and all files of the demo go away.")
            return INTERRUPTED
        except (ApiError, ClusterError, DemoFailed, Unreachable, *FAILURES) as error:
            screen.bad(f"The demo can't go on: {error}")
            if log := stage.service_log():
                screen.say(f"[dim]The service's log ends with:[/]\n{log}")
            return 1
        finally:
            signal.signal(signal.SIGTERM, before)


class Story:
    """One playing of the demo."""

    def __init__(self, stage: Stage, screen: Screen) -> None:
        self._stage, self._screen = stage, screen
        self._task_id = ""

    def tell(self, once: bool) -> int:
        """All of it; the ten lines that are the demo."""
        self._screen.title()
        self._databases()
        client = self._service()
        self._task(client)
        self._copy(client)
        life = self._live(client)
        since = self._accident(client, life)
        self._reset(client, since)
        equal = self._verdict(client, life)
        if not once:
            self._stay()
        return 0 if equal else 1

    # -- the steps

    def _databases(self) -> None:
        """Two servers; a filled shop in one, empty tables in the other."""
        self._screen.step("Two databases", "Both are servers of the demo's own, from binaries that are at hand here.")
        self._stage.open_databases()
        source, target = self._source, self._target
        for one in (source, target):
            one.make()
        source.stock()
        counts = [(table, f"{source.count(table):,}", f"{target.count(table):,}") for table in shop.TABLES]
        ports = f"source on port {source.server.port}, {target.product}: target on port {target.server.port}"
        self._screen.good(f"{source.product}: {ports}.")
        self._screen.say("A small shop lives in the source; its tables refer to one another. The target has the same tables, empty:")
        self._screen.rows(["table", "source rows", "target rows"], counts)

    def _service(self) -> Client:
        """`headwater init` and `headwater serve`."""
        self._screen.step("The service", "[dim]$[/] headwater init --data-dir …\n[dim]$[/] headwater serve --data-dir …")
        self._stage.open_service()
        self._screen.good(f"The API answers at {self._stage.address}; from here on everything goes through it, with signed requests.")
        return self._stage.client()

    def _task(self, client: Client) -> None:
        """Two data sources and a combined task over all tables."""
        self._screen.step("A combined task", "Two saved connections, and one task that maps every table by name:")
        self._screen.tracing = True
        app = self._stage.access["app_id"]
        source = client.create_data_source("demo-source", self._source.type, app, self._source.content)["datasource_id"]
        target = client.create_data_source("demo-target", self._target.type, app, self._target.content)["datasource_id"]
        mapped = client.init_task(source, target, auto_mapping=True)
        self._task_id = client.create_task("demo", mapped["task_id"])
        client.start(self._task_id)
        self._screen.tracing = False
        self._screen.good("The task is started. It first copies what is there, then follows the source's log for ever.")

    def _copy(self, client: Client) -> None:
        """The first copy, a bar per table."""
        self._screen.step("The first copy", "In keyed chunks, several at a time, while both databases stay in use:")
        began, rows, rates = time.monotonic(), 0, dict[str, float]()
        with self._screen.bars() as bars:
            for seen in self._watch(client, COPY_TIMEOUT_S, "the first copy"):
                tables = seen["progress"]["tables"]
                rows = sum(table["rows_done"] for table in tables)
                _draw_copy(bars, tables, rates)
                if seen["state"] == "following":
                    break
        spent = time.monotonic() - began
        self._screen.good(f"{rows:,} rows copied in {spent:.1f} s. The task now follows the source's log.")

    def _live(self, client: Client) -> Life:
        """Life in the source, and how the target keeps up."""
        self._screen.step("Live changes", "Customers order, move and cancel; staff ships. Every transaction arrives whole:")
        life = Life(self._source, LIFE_PER_S)
        life.start()
        self._look_on(client, life, LIVE_S)
        return life

    def _accident(self, client: Client, life: Life) -> datetime:
        """Note a moment, let life go on, then damage what has changed at the target since; returns the moment."""
        self._screen.step("An accident")
        since = self._source.now()
        self._screen.say(f"It is {_clock(since)}. Life goes on for a while ...")
        self._look_on(client, life, LIVE_S)
        damaged = {table: _damage(self._target, table, since) for table in shop.TABLES}
        self._screen.bad("... and then a bad release writes nonsense into the [bold]target[/], over all that is newer than that:")
        self._screen.rows(["table", "rows overwritten"], [(table, f"{count:,}") for table, count in damaged.items()])
        self._show_example()
        return since

    def _reset(self, client: Client, since: datetime) -> None:
        """Take the task back to the moment, and watch the replay."""
        self._screen.step(
            "The reset",
            f"The task is taken back to {_clock(since)}, the moment before. It runs on from there: everything that the source "
            "committed since is taken from Headwater's journal and written again; the source is not even asked.",
        )
        self._screen.tracing = True
        began = time.monotonic()
        answer = client.reset(self._task_id, int(since.timestamp() * 1000))
        self._screen.tracing = False
        self._screen.good(f"Accepted and durable after {(time.monotonic() - began) * 1000:.0f} ms: {answer}")
        self._watch_replay(client)
        self._screen.say(
            "\n[dim]What such a reset repairs: rows that the source has written since that moment. Rows that it has not touched are not "
            "looked at. For those there is the reset without a time: it copies every table again and removes what does not belong.[/]"
        )

    def _verdict(self, client: Client, life: Life) -> bool:
        """Stop life, wait until the target has everything, and compare."""
        life.stop()
        if life.failure is not None:
            raise DemoFailed(f"the shop's life ended early: {life.failure}")
        self._wait_caught_up(client)
        changes = ", ".join(f"{life.rows[kind]:,} rows {kind}" for kind in KINDS)
        self._screen.step(
            "Is the target equal to the source?", f"The shop is closed now, after {life.transactions:,} transactions: {changes}."
        )
        compared = compare(self._source, self._target, shop.TABLES)
        self._screen.comparison(compared)
        if all(one.equal for one in compared):
            self._screen.good("[bold]Every row of every table is equal.[/]")
            return True
        self._screen.bad("[bold]Source and target differ.[/] That must not happen; please report it with the log of the service.")
        return False

    def _stay(self) -> None:
        """Keep everything running, and say how to get in."""
        stage, program = self._stage, sys.argv[0]
        self._screen.step("Now you", "The service and both databases keep running until Ctrl-C; a few orders per second keep coming.")
        shown = {"API": stage.address, "source": stage.source.url, "target": stage.target.url}
        names = ("access_key", "secret_key", "project_id", "instance_id", "domain_name", "user_name", "password")
        self._screen.rows(["", ""], [*shown.items(), *((name, str(stage.access[name])) for name in names)], 9)
        self._screen.say("\nIn another terminal, for example:\n")
        self._screen.code(
            f"export HEADWATER_PROFILE={stage.profile}",
            f"{program} task show demo --watch",
            f"{program} task reset demo --to {datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}",
        )
        life = Life(self._source, GENTLE_PER_S)
        life.start()
        while life.is_alive():
            life.join(1.0)
        raise DemoFailed(f"the shop's life ended: {life.failure}")

    # -- looking

    def _look_on(self, client: Client, life: Life, for_s: float) -> None:
        """Show lag and throughput for a while."""
        until = time.monotonic() + for_s
        with self._screen.live() as panel:
            for seen in self._watch(client, for_s + COPY_TIMEOUT_S, "the live changes"):
                progress = seen["progress"]
                written = (
                    f"{progress['rows_inserted']:,} inserted, {progress['rows_updated']:,} updated, {progress['rows_deleted']:,} deleted"
                )
                numbers = {
                    "source has committed": f"{life.transactions:,} transactions, {life.rows.total():,} rows",
                    "target has written": written,
                    "throughput": f"{progress['rows_per_s']:,.0f} rows/s",
                    "behind": f"{_known(progress['lag_ms'])} ms, {_known(progress['lag_transactions'])} transactions",
                }
                panel.show(numbers, progress["lag_ms"])
                if time.monotonic() >= until:
                    return

    def _watch_replay(self, client: Client) -> None:
        """A bar from the place that the reset led to, up to where the task stood before."""
        record = client.task(self._task_id)["detail"]["last_reset"]
        began_at, stood_at = record["to_offset"] or 0, record["from_offset"] or 0
        began = time.monotonic()
        with self._screen.bars() as bars, self._target.session(autocommit=True) as target:
            for seen in self._watch(client, CATCH_UP_TIMEOUT_S, "the replay"):
                offset = seen["progress"]["offset"]
                done = min(max((began_at if offset is None else offset) - began_at, 0), stood_at - began_at)
                nonsense = sum(_nonsense(target, table) for table in shop.TABLES)
                bars.set("transactions", done, stood_at - began_at, f"{nonsense:,} rows of nonsense left, task is {seen['state']}")
                if offset is not None and offset >= stood_at and seen["state"] == "following":
                    break
        replayed = stood_at - began_at
        self._screen.good(f"{replayed:,} transactions replayed in {time.monotonic() - began:.1f} s; the task follows the log again.")

    def _wait_caught_up(self, client: Client) -> None:
        """Until the journal has all that the source committed before now, and the target all that the journal has."""
        now_ms = int(self._source.now().timestamp() * 1000)
        for seen in self._watch(client, CATCH_UP_TIMEOUT_S, "catching up"):
            progress = seen["progress"]
            if progress["offset"] is not None and progress["offset"] == progress["journal_end"]:
                window = client.task(self._task_id)["detail"]["window"]
                if window and (window["latest_ms"] or 0) >= now_ms and self._at_end(client):
                    return

    def _at_end(self, client: Client) -> bool:
        progress = self._monitor(client)["progress"]
        return progress["offset"] is not None and progress["offset"] == progress["journal_end"]

    def _watch(self, client: Client, timeout_s: float, what: str) -> Iterator[Json]:
        """Look at the task's monitor again and again; ends by an error where the task fails or time runs out."""
        deadline = time.monotonic() + timeout_s
        while True:
            seen = self._monitor(client)
            if seen["state"] == "failed":
                raise DemoFailed(f"{what}: {seen['message']} {seen['hint']}")
            yield seen
            if time.monotonic() > deadline:
                raise DemoFailed(f"{what} took longer than {timeout_s:.0f} s; the task is {seen['state']}. {seen['message']}")
            time.sleep(LOOK_S)

    def _monitor(self, client: Client) -> Json:
        return next(task for task in client.monitors() if task["task_id"] == self._task_id)

    def _show_example(self) -> None:
        query = "SELECT id, status, note FROM orders WHERE id = %s"
        with self._source.session() as source, self._target.session() as target:
            for (order,) in target.rows("SELECT id FROM orders WHERE status = '???' ORDER BY id DESC LIMIT 5"):
                right, wrong = source.rows(query, (order,)), target.rows(query, (order,))
                if right and wrong:
                    shown = [("source", *(repr(value) for value in right[0])), ("target", *(repr(value) for value in wrong[0]))]
                    self._screen.say("For example:")
                    self._screen.rows(["orders in the", "id", "status", "note"], shown, 9)
                    return

    # -- small things

    @property
    def _source(self) -> Side:
        return self._stage.source

    @property
    def _target(self) -> Side:
        return self._stage.target


def _draw_copy(bars: Bars, tables: list[Json], rates: dict[str, float]) -> None:
    """Bars by table; `rates` keeps the last rate that was told, for the tables that are done."""
    for table in tables:
        name = table["source_table"].rpartition(".")[2]
        total = table["rows_done"] if table["state"] == "copied" else max(table["rows_expected"], 1)
        rates[name] = table["rows_per_s"] or rates.get(name, 0.0)
        bars.set(name, table["rows_done"], total, f"{rates[name]:,.0f} rows/s" if rates[name] else "")


def _damage(target: Side, table: str, since: datetime) -> int:
    """Run the bad release on one table. It may collide with the task's own writing: then again."""
    while True:
        try:
            with target.session(autocommit=True) as session:
                return session.run(ACCIDENT[table], (since.replace(tzinfo=None) if target.type == "MYSQL" else since,))
        except FAILURES as error:
            if not target.deadlock(error):
                raise


def _nonsense(target: Session, table: str) -> int:
    return int(target.one(f"SELECT count(*) FROM {table} WHERE {NONSENSE[table]}"))  # noqa: S608 - constants


def _known(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _clock(moment: datetime) -> str:
    return moment.strftime("%H:%M:%S.%f")[:-3] + " UTC"


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
