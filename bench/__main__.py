"""`python -m bench [NAMES]`: run rows of the table, print them, and write them to `results/`."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import backlog, beside_replay, capture, debezium, first_copy, idle, latency, machine, mariadb, memory, verify
from bench.measure import Row, shown
from bench.options import Options
from bench.servers import Servers
from headwater.clusters import Installation, find_postgres

ROWS: dict[str, Callable[[Servers, Options], list[Row]]] = {
    "capture": capture.run,
    "backlog": backlog.run,
    "debezium": debezium.run,
    "first_copy": first_copy.run,
    "latency": latency.run,
    "beside_replay": beside_replay.run,
    "memory": memory.run,
    "idle": idle.run,
    "verify": verify.run,
    **mariadb.ROWS,
}
RESULTS = Path(__file__).parent / "results"


def main() -> int:
    """Exit status 1 where a row could not be measured; a row that falls short is said, and is no failure of the command."""
    arguments = _arguments()
    installation = _installation(arguments.postgres)
    options = Options(arguments.runs, arguments.scale)
    console = Console(highlight=False)
    about = machine.describe(installation)
    rows: list[Row] = []
    failed: list[str] = []
    for name in arguments.names or ROWS:
        console.print(f"[dim]{datetime.now(UTC):%H:%M:%S} {name} ...[/]")
        try:
            with Servers(installation) as servers:
                rows += ROWS[name](servers, options)
        except Exception:  # noqa: BLE001 one row that fails must not take the others with it; it is printed and counted
            failed.append(name)
            console.print(traceback.format_exc(), markup=False)
    _show(console, rows, about, options)
    _write(rows, about, options, failed)
    return 1 if failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*ROWS, []], help="rows to measure (default: all)")
    parser.add_argument("--runs", type=int, default=5, help="runs per figure; the table shows medians (default: 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="share of each workload's size, to try things out (default: 1)")
    parser.add_argument("--postgres", type=int, default=None, help="major version of PostgreSQL (default: the oldest at hand)")
    return parser.parse_args()


def _installation(major: int | None) -> Installation:
    found = find_postgres()
    chosen = [i for i in found if major in (None, i.version[0]) and (i.bin / "pg_recvlogical").exists()]
    if not chosen:
        sys.exit(f"No PostgreSQL {major or ''} with pg_recvlogical is at hand; these servers are: {', '.join(i.name for i in found)}.")
    return chosen[0]


def _show(console: Console, rows: list[Row], about: dict[str, object], options: Options) -> None:
    table = Table(title=f"medians of {options.runs} (lowest to highest)" + (f", scale {options.scale}" if options.scale != 1 else ""))
    for heading in ("what", "ours", "against", "ratio", "to reach", ""):
        table.add_column(heading, overflow="fold")
    for row in rows:
        against = f"{row.baseline.name}: {row.baseline.text}" if row.baseline else ""
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        verdict = {True: "[green]reached[/]", False: "[red]falls short[/]", None: "not measured"}[row.reached]
        table.add_row(row.what, row.ours.text if row.ours else "", against, ratio, row.reach, verdict)
    console.print(table)
    for row in rows:
        for text in [row.note, *(f"{f.name}: {f.text}" for f in row.more)]:
            if text:
                console.print(f"{row.what}: {text}")
    console.print(", ".join(f"{name} {shown(value) if isinstance(value, float) else value}" for name, value in about.items()))


def _write(rows: list[Row], about: dict[str, object], options: Options, failed: list[str]) -> None:
    RESULTS.mkdir(exist_ok=True)
    when = datetime.now(UTC)
    content = {
        "when": when.isoformat(timespec="seconds"),
        "machine": about,
        "runs": options.runs,
        "scale": options.scale,
        "rows": [{**asdict(row), "medians": {f.name: f.median for f in (row.ours, row.baseline) if f}} for row in rows],
        "failed": failed,
    }
    path = RESULTS / f"{when:%Y%m%dT%H%M%SZ}.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    sys.exit(main())
