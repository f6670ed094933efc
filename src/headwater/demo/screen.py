"""How the demo looks: steps with plain words, bars, a live panel, tables. All printing of the demo is here."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from headwater.demo.compare import Comparison

WIDTH_MAX = 100
SPARKS = "▁▂▃▄▅▆▇█"
SPARKS_SHOWN = 40


class Screen:
    """The terminal. Steps number themselves; `answered` shows API calls only while `tracing`."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.console.width = min(self.console.width, WIDTH_MAX)
        self.tracing = False
        self._step = 0

    def title(self) -> None:
        """What this is."""
        text = (
            "[bold]Headwater[/] keeps tables of one database equal to tables of another, and can take that work "
            "back to any moment.\n\nThis demo is the real thing, small: two database servers, the service and its HTTP API, "
            "started here for you and removed afterwards. Nothing else on this machine is touched."
        )
        self.console.print(Panel(text, border_style="cyan", padding=(1, 2)))

    def step(self, title: str, text: str = "") -> None:
        """The next step of the story."""
        self._step += 1
        self.console.print()
        self.console.rule(f"[bold cyan]{self._step}[/]  [bold]{title}[/]", align="left", style="cyan")
        if text:
            self.console.print(text)

    def say(self, text: str) -> None:
        """A sentence."""
        self.console.print(text)

    def code(self, *lines: str) -> None:
        """Lines to copy; never broken."""
        for line in lines:
            self.console.print(Text(f"  {line}", style="bold"), soft_wrap=True)

    def good(self, text: str) -> None:
        """A sentence about something that worked."""
        self.console.print(f"[green]✓[/] {text}")

    def bad(self, text: str) -> None:
        """A sentence about something that did not."""
        self.console.print(f"[bold red]✗[/] {text}")

    def answered(self, method: str, path: str, status: int) -> None:
        """An answer of the API."""
        if self.tracing:
            shown = path if len(path) <= 70 else path[:34] + "…" + path[-35:]
            self.console.print(f"  [dim]{method:<5}[/] {shown} [dim]→[/] [{'green' if status < 400 else 'red'}]{status}[/]")

    @contextmanager
    def bars(self, rate: bool = True) -> Iterator[Bars]:
        """Progress bars that stay on the screen."""
        columns: list[Any] = [TextColumn("  {task.description:<14}"), BarColumn(32), TaskProgressColumn(), MofNCompleteColumn()]
        if rate:
            columns.append(TextColumn("[dim]{task.fields[note]}"))
        with Progress(*columns, console=self.console, refresh_per_second=8) as progress:
            yield Bars(progress)

    @contextmanager
    def live(self) -> Iterator[LivePanel]:
        """A panel that is drawn anew until the block ends."""
        with Live(console=self.console, refresh_per_second=8) as live:
            yield LivePanel(live)
        if not self.console.is_terminal:
            self.console.print()  # only the last frame was printed, without an end of line

    def rows(self, headers: Sequence[str], rows: Sequence[Sequence[str]], numbers_from: int = 1) -> None:
        """A table; columns from `numbers_from` on are numbers."""
        table = Table(*headers, box=None, header_style="dim", padding=(0, 1, 0, 2), show_header=any(headers))
        for index, column in enumerate(table.columns):
            column.justify = "right" if index >= numbers_from else "left"
        for row in rows:
            table.add_row(*row)
        self.console.print(table)

    def comparison(self, compared: Sequence[Comparison]) -> None:
        """The verdict by table."""
        rows = []
        for one in compared:
            hashes = (f"{abs(side.hash) % 2**40:010x}" for side in (one.source, one.target))
            verdict = "[green]✓ equal[/]" if one.equal else "[bold red]✗ different[/]"
            rows.append((one.table, f"{one.source.rows:,}", f"{one.target.rows:,}", *hashes, verdict))
        self.rows(["table", "source rows", "target rows", "source hash", "target hash", ""], rows)


class Bars:
    """Progress bars by name; a bar appears when it is first set."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {}

    def set(self, name: str, done: int, total: int, note: str = "") -> None:
        """Move a bar."""
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total, note=note)
        self._progress.update(self._bars[name], completed=done, total=max(total, done), note=note)


class LivePanel:
    """Numbers under way, with the lag of the last seconds as a line."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._lags: deque[int] = deque(maxlen=SPARKS_SHOWN)

    def show(self, numbers: Mapping[str, str], lag_ms: int | None) -> None:
        """Draw the numbers."""
        if lag_ms is not None:
            self._lags.append(lag_ms)
        grid = Table.grid(padding=(0, 3))
        for name, value in numbers.items():
            grid.add_row(Text(name, style="dim"), value)
        parts: list[RenderableType] = [grid]
        if self._lags:
            parts.append(Text(f"lag, ms   {sparks(self._lags)}   max {max(self._lags):,}", style="cyan"))
        self._live.update(Panel(Group(*parts), border_style="dim", width=80))


def sparks(values: Sequence[int] | deque[int]) -> str:
    """Values as a line of little columns."""
    top = max(1, *values)
    return "".join(SPARKS[min(len(SPARKS) - 1, value * len(SPARKS) // (top + 1))] for value in values)
