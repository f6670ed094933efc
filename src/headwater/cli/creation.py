"""`headwater task create-tables`: makes the target tables that a task lacks, or shows how they would be made.

Exit status: 0 all were made (or could be), 1 some can't be; 2 and 3 as for all `task` commands.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from headwater.cli.tasks import REFUSED, AsJson, ProfileFile, Task, find, service


def create_tables(
    task: Task,
    tables: Annotated[
        list[str] | None, typer.Option("--table", help="A source table, schema.table; may be repeated. [default: all that lack one]")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the statements and make nothing.")] = False,
    map_them: Annotated[bool, typer.Option("--map", help="Then map all tables that fit by name and are not mapped yet.")] = False,
    profile: ProfileFile = None,
    as_json: AsJson = False,
) -> None:
    """Make the target tables that are missing, after those of the source: columns, keys, defaults, comments."""
    if map_them and dry_run:
        raise typer.BadParameter("nothing is there to be mapped after --dry-run", param_hint="--map")
    with service(profile) as client:
        task_id = find(client, task)
        made = client.create_tables(task_id, tables or [], dry_run)
        mapped = client.map_by_name(task_id) if map_them else None
    if as_json:
        typer.echo(json.dumps({"tables": made, "mapped": mapped}))
    else:
        typer.echo("\n".join([_shown(made, dry_run), *(_mapped(mapped) if mapped else [])]))
    if any(one["problem"] for one in made):
        raise typer.Exit(REFUSED)


def _mapped(mapped: dict[str, Any]) -> list[str]:
    left_out = [f"-- not mapped: {one['source_table']}: {one['reason']}" for one in mapped["unmapped"]]
    return [*left_out, f"-- The task has {mapped['mappings_total_count']} mappings."]


def _shown(made: list[dict[str, Any]], dry_run: bool) -> str:
    """SQL that can be run as it stands: everything else is a comment."""
    lines: list[str] = []
    for one in made:
        lines += [f"-- {one['source_table']} -> {one['target_table']}"]
        lines += [f"-- {note}" for note in one["notes"]]
        lines += [f"{statement};" for statement in one["statements"]]
        lines += [f"-- NOT POSSIBLE: {one['problem']}" if dry_run else f"-- NOT CREATED: {one['problem']}"] if one["problem"] else []
        lines.append("")
    count = sum(one["created"] for one in made)
    if not made:
        return "No target table is missing."
    return "\n".join([*lines, "-- Nothing was created (--dry-run)." if dry_run else f"-- {count} of {len(made)} tables were created."])
