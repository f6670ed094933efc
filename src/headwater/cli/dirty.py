"""`headwater dirty ...`: the rows that a task's target refused and that were set aside, over the HTTP API.

Exit status as in `tasks.py`; a retry of which some rows were refused again ends with 1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.tasks import REFUSED, AsJson, ProfileFile, Task, find, service

app = typer.Typer(help="Look at, export, retry and discard the rows that a target refused.", no_args_is_help=True)

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of set-aside rows, as `dirty list` shows them.", metavar="ROW...")]
All = Annotated[bool, typer.Option("--all", help="All open rows.")]
State = Annotated[
    str, typer.Option(help="open, discarded, resolved, retried, reset (copied again since), removed (with its mapping), or all.")
]


@app.command("list")
def list_rows(task: Task, state: State = "open", profile: ProfileFile = None, as_json: AsJson = False) -> None:
    """List set-aside rows with their reasons; the values stay where they are."""
    with service(profile) as client:
        rows = list(client.dirty_rows(find(client, task), "" if state == "all" else state))
    if as_json:
        typer.echo(json.dumps(rows))
    else:
        from rich.console import Console

        from headwater.cli.views import dirty_list

        Console().print(dirty_list(rows))


@app.command()
def export(
    task: Task,
    state: State = "open",
    output: Annotated[Path | None, typer.Option("--output", help="File to write to. [default: standard output]")] = None,
    profile: ProfileFile = None,
) -> None:
    """Write set-aside rows, with their values, as one JSON object per line."""
    with service(profile) as client:
        rows = client.dirty_rows(find(client, task), "" if state == "all" else state, rows=True)
        if output is None:
            for row in rows:
                typer.echo(json.dumps(row))
        else:
            with output.open("w") as file:
                file.writelines(json.dumps(row) + "\n" for row in rows)


@app.command()
def retry(task: Task, rows: Ids = None, every: All = False, profile: ProfileFile = None, as_json: AsJson = False) -> None:
    """Write rows again, once what refused them is repaired. A newer change of the same row wins."""
    with service(profile) as client:
        task_id = find(client, task)
        answer = client.mend_dirty_rows(task_id, "retry", _named(client, task_id, rows, every=every))
    _told(answer, "written", as_json)


@app.command()
def discard(task: Task, rows: Ids = None, every: All = False, profile: ProfileFile = None, as_json: AsJson = False) -> None:
    """Give rows up: they count no more, and the target keeps what it has until the source changes them again."""
    with service(profile) as client:
        task_id = find(client, task)
        answer = client.mend_dirty_rows(task_id, "discard", _named(client, task_id, rows, every=every))
    _told(answer, "discarded", as_json)


def _named(client: Any, task_id: str, rows: Sequence[str] | None, *, every: bool) -> list[str]:
    if bool(rows) == every:
        raise typer.BadParameter("name rows by their ids, or give --all", param_hint="ROW...")
    return [str(row["id"]) for row in client.dirty_rows(task_id)][::-1] if every else list(rows or ())


def _told(answer: dict[str, Any], done: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(answer))
    else:
        parts = [f"{len(answer['done'])} {done}", *([f"{len(answer['left'])} settled before, or unknown"] if answer["left"] else [])]
        typer.echo(", ".join(parts) + ".")
        for row in answer["refused"]:
            typer.echo(f"  {row['id']} was refused again: {row['reason']}")
    if answer["refused"]:
        raise typer.Exit(REFUSED)
