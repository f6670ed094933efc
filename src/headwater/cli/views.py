"""How tasks look in a terminal: tables, progress bars, times and durations. Pure: JSON of the API in, renderables out."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

Json = dict[str, Any]

STYLES = {
    "following": "green",
    "catching_up": "yellow",
    "copying": "cyan",
    "failed": "bold red",
    "retrying": "red",
    "stalled": "bold red",
    "waiting": "yellow",
    "starting": "yellow",
}
BAR_WIDTH = 24
DIFFERENCES = ("missing", "extra", "differing")
RESULTS = {"equal": "green", "different": "bold red", "unsettled": "yellow", "not_compared": "yellow", "comparing": "cyan"}
KEYS_SHOWN = 20


def parse_time(text: str) -> int:
    """Milliseconds since 1970 from digits (taken as they are) or ISO 8601; without a zone it is local time.

    Raises:
        ValueError: neither.
    """
    if text.strip().isascii() and text.strip().isdigit():
        return int(text)
    try:
        moment = datetime.fromisoformat(text.strip())
        whole = moment.astimezone(UTC) - datetime(1970, 1, 1, tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"'{text}' is not a time; write 2026-01-31T12:00:00, 2026-01-31T12:00:00Z, or milliseconds since 1970") from error
    return (whole.days * 86_400 + whole.seconds) * 1000 + whole.microseconds // 1000


def show_time(ms: int | None, zone: tzinfo | None = None) -> str:
    """A moment with its zone and in milliseconds: `2026-01-31 12:00:00.000 +01:00 (1769857200000)`. No zone: local time."""
    if ms is None:
        return "-"
    try:
        moment = datetime.fromtimestamp(ms / 1000, UTC).astimezone(zone)
    except (ValueError, OverflowError, OSError):
        return str(ms)
    return f"{moment.strftime('%Y-%m-%d %H:%M:%S')}.{ms % 1000:03d} {moment.isoformat()[-6:]} ({ms})"


def show_duration(ms: float | None) -> str:
    """Milliseconds in the unit that a person would use."""
    if ms is None:
        return "-"
    for size, unit in ((86_400_000, "d"), (3_600_000, "h"), (60_000, "min"), (1000, "s")):
        if ms >= size:
            return f"{ms / size:.1f} {unit}"
    return f"{ms:.0f} ms"


def plain(value: object) -> Text:
    """Text from elsewhere: no markup, no control characters."""
    return Text("".join(c if c.isprintable() else " " for c in str(value)))


def state_text(state: str) -> Text:
    """A state in its colour."""
    return Text(state.replace("_", " "), style=STYLES.get(state, ""))


def task_list(monitors: Sequence[Json]) -> RenderableType:
    """All tasks, one line each."""
    if not monitors:
        return Text("No tasks.")
    table = Table("name", "state", "lag", "behind", "rows/s", "id", box=None, pad_edge=False, header_style="bold")
    for row in monitors:
        progress = row["progress"]
        table.add_row(
            plain(row["task_name"]),
            state_text(row["state"]),
            show_duration(progress["lag_ms"]),
            _count(progress["lag_transactions"], "transactions"),
            f"{progress['rows_per_s']:,.0f}",
            plain(row["task_id"]),
        )
    return table


def task_view(task: Json) -> RenderableType:
    """One task: what it is, how it stands, what a reset can reach, and its tables."""
    parts: list[RenderableType] = [_facts(task)]
    tables = task["detail"]["progress"]["tables"]
    if tables:
        parts += [Text(), tables_view(tables)]
    return Group(*parts)


def tables_view(tables: Sequence[Json]) -> RenderableType:
    """The first copy, table by table, with a bar each."""
    table = Table("table", "copy", "", "rows", "rows/s", box=None, pad_edge=False, header_style="bold")
    for row in tables:
        name = row["source_table"] if row["source_table"] == row["target_table"] else f"{row['source_table']} → {row['target_table']}"
        done, expected = row["rows_done"], max(row["rows_expected"], row["rows_done"])
        copied = row["state"] == "copied"
        bar = ProgressBar(total=max(expected, 1), completed=max(expected, 1) if copied else done, width=BAR_WIDTH)
        rows = f"{done:,}" if copied else f"{done:,} of {expected:,}"
        table.add_row(plain(name), row["state"], bar, rows, "" if copied else f"{row['rows_per_s']:,.0f}")
    return table


def reset_text(reset: Json | None) -> str:
    """The last reset in one line."""
    if reset is None:
        return "-"
    asked = "from the beginning" if reset["asked_ms"] is None else f"to {show_time(reset['asked_ms'])}"
    message = f": {reset['message']}" if reset["message"] else ""
    return f"{show_time(reset['accepted_ms'])} by {reset['by']}, {asked}, {reset['outcome']}{message}"


def verified_text(verification: Json | None) -> str:
    """The last verification in one line."""
    if verification is None:
        return "-"
    counts = ", ".join(f"{verification[name]:,} {name}" for name in (*DIFFERENCES, "repaired", "unsettled") if verification[name])
    when = show_time(verification["ended_ms"] or verification["started_ms"] or verification["asked_ms"])
    upto = f", up to offset {verification['offset']:,}" if verification["outcome"] in ("equal", "repaired") else ""
    said = f" ({verification['message']})" if verification["message"] else ""
    return f"{when}: {verification['outcome']}{upto}{f': {counts}' if counts else ''}{said}"


def verification_view(verification: Json) -> RenderableType:
    """One verification: a line per table, and the rows that differ."""
    table = Table("table", "result", "", "rows", *DIFFERENCES, "repaired", "unsettled", box=None, pad_edge=False, header_style="bold")
    notes: list[RenderableType] = []
    for row in verification["tables"]:
        name = row["source_table"] if row["source_table"] == row["target_table"] else f"{row['source_table']} → {row['target_table']}"
        over = row["state"] not in ("pending", "comparing")
        total = max(row["rows_expected"], row["rows"], 1)
        bar = ProgressBar(total=total, completed=total if over else row["rows"], width=BAR_WIDTH)
        counts = [f"{row[key]:,}" if row[key] else "" for key in (*DIFFERENCES, "repaired", "unsettled")]
        state = Text(row["state"].replace("_", " "), style=RESULTS.get(row["state"], ""))
        table.add_row(plain(name), state, bar, f"{row['rows']:,}", *counts)
        notes += [plain(f"{name}: {said}") for said in (row["message"], *(f"left out: {pair}" for pair in row["left_out"])) if said]
        shown = row["keys"][:KEYS_SHOWN]
        notes += [plain(f"{name} ({', '.join(k['key'])}): {k['kind']}{', repaired' if k['repaired'] else ''}") for k in shown]
        if len(row["keys"]) > len(shown):
            notes.append(plain(f"{name}: {len(row['keys']) - len(shown):,} more keys are listed with --json"))
    line = f"{verification['outcome']}   {verification['rows_per_s']:,.0f} rows/s   {verification['message']}"
    return Group(table, *notes, plain(line))


def _facts(task: Json) -> Table:
    detail, grid = task["detail"], Table.grid(padding=(0, 2))
    progress, window = detail["progress"], detail["window"]
    state = state_text(detail["state"])
    if progress["capture_state"]:
        state.append_text(plain(f"   capture: {progress['capture_state']} {progress['capture_message']}"))
    facts: list[tuple[str, RenderableType | str]] = [
        ("task", plain(f"{task['task_name']}   {task['task_id']}")),
        ("from, to", plain(f"{task['source_datasource_name'] or '-'} → {task['target_datasource_name'] or '-'}")),
        ("state", state),
    ]
    if detail["message"]:
        facts.append(("", plain(detail["message"])))
    if detail["hint"]:
        facts.append(("", plain(detail["hint"])))
    facts += [("note", plain(note)) for note in detail.get("notes", ())]
    facts += [
        ("lag", f"{show_duration(progress['lag_ms'])}   {_count(progress['lag_transactions'], 'transactions')} behind"),
        ("throughput", f"{progress['rows_per_s']:,.0f} rows/s"),
        ("rows", _rows(progress)),
        ("dirty rows", _dirty(detail["dirty_rows"], progress["dirty_open"])),
        ("applied up to", show_time(progress["commit_ms"])),
        ("window", "-" if window is None else f"{show_time(window['earliest_ms'])}"),
    ]
    if window is not None:
        facts.append(("", f"{show_time(window['latest_ms'])}   {window['transactions']:,} transactions, {window['bytes']:,} bytes"))
    facts.append(("last reset", plain(reset_text(detail["last_reset"]))))
    facts.append(("verified", plain(verified_text(detail.get("last_verification")))))
    for name, value in facts:
        grid.add_row(Text(name, style="bold"), value if not isinstance(value, str) else plain(value))
    return grid


def _dirty(policy: Json, open_rows: int | None) -> str:
    """What is set aside, and of how many that may be."""
    if policy["policy"] == "STOP" and not open_rows:
        return "stop at the first"
    limit = f" of {policy['rows_max']:,}" if policy["policy"] != "STOP" else "; stop at the next"
    return f"{'?' if open_rows is None else format(open_rows, ',')} set aside{limit}"


def _rows(progress: Json) -> str:
    return ", ".join(f"{progress[f'rows_{op}']:,} {op}" for op in ("copied", "inserted", "updated", "deleted"))


def _count(number: int | None, unit: str) -> str:
    return "-" if number is None else f"{number:,} {unit}"


def dirty_list(rows: Sequence[Json]) -> RenderableType:
    """Set-aside rows, one line each."""
    if not rows:
        return Text("No rows are set aside.")
    table = Table("row", "state", "table", "what", "since", "times", "reason", box=None, pad_edge=False, header_style="bold")
    for row in rows:
        by = f" by {row['settled_by']}" if row["settled_by"] else ""
        table.add_row(
            row["id"],
            plain(row["state"] + by),
            plain(row["target_table"]),
            row["kind"],
            show_time(row["first_ms"]).partition(" (")[0],
            str(row["times"]),
            plain(row["reason"]),
        )
    return table
