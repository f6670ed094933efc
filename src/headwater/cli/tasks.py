"""`headwater task ...`: the tasks of a running service, over its HTTP API, for people and for scripts.

Exit status: 0 done, 1 refused by the service, 2 used wrongly, 3 the service could not be reached.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:  # commands import what they need: starting is most of what a short command does
    from rich.console import RenderableType

    from headwater.client import Client

REFUSED, MISUSED, UNREACHABLE = 1, 2, 3
POLL_S = 1.0

app = typer.Typer(help="List, show, start, stop and reset tasks of a running service.", no_args_is_help=True)


class DirtyRowsPolicy(StrEnum):
    """What to do with rows that the target refuses."""

    STOP = "stop"
    SET_ASIDE = "set-aside"


Task = Annotated[str, typer.Argument(help="The task's id, or its name.", metavar="ID")]
ProfileFile = Annotated[
    Path | None, typer.Option("--profile", help="File with endpoint and credentials. [default: ~/.config/headwater/profile.toml]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


@app.command("list")
def list_tasks(profile: ProfileFile = None, as_json: AsJson = False) -> None:
    """List all tasks with state and lag."""
    with service(profile) as client:
        monitors = client.monitors()
    if as_json:
        typer.echo(json.dumps(monitors))
    else:
        from headwater.cli.views import task_list

        _print(task_list(monitors))


@app.command()
def show(
    task: Task,
    profile: ProfileFile = None,
    as_json: AsJson = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on showing until Ctrl-C; with --json one object per line.")] = False,
) -> None:
    """Show one task: progress, lag, and the moments that a reset can reach."""
    from rich.live import Live

    from headwater.cli.views import task_view

    with service(profile) as client:
        task_id = find(client, task)
        if not watch:
            found = client.task(task_id)
            typer.echo(json.dumps(found)) if as_json else _print(task_view(found))
        elif as_json:
            _follow(lambda: typer.echo(json.dumps(client.task(task_id))))
        else:
            with Live(task_view(client.task(task_id)), auto_refresh=False) as live:
                _follow(lambda: live.update(task_view(client.task(task_id)), refresh=True))


@app.command()
def start(task: Task, profile: ProfileFile = None, as_json: AsJson = False) -> None:
    """Start a task; it first checks source and target."""
    with service(profile) as client:
        task_id = find(client, task)
        client.start(task_id)
        notes = client.task(task_id)["detail"].get("notes", [])
    said = "\n".join([f"Task {task} is started.", *(f"Note: {note}" for note in notes)])
    _done(as_json, said, task_id=task_id, wished="running", notes=notes)


@app.command()
def stop(task: Task, profile: ProfileFile = None, as_json: AsJson = False) -> None:
    """Stop a task; its position is kept."""
    with service(profile) as client:
        task_id = find(client, task)
        client.stop(task_id)
    _done(as_json, f"Task {task} is stopped.", task_id=task_id, wished="stopped")


@app.command()
def reset(
    task: Task,
    to: Annotated[
        str | None,
        typer.Option(help="Moment to go back to: ISO 8601 (no zone: local time) or ms since 1970. Left out: from the beginning."),
    ] = None,
    profile: ProfileFile = None,
    as_json: AsJson = False,
) -> None:
    """Take a task back to a moment, or without --to to the beginning. A running task runs on from there."""
    from headwater.cli.views import parse_time, reset_text, show_time

    try:
        moment = None if to is None else parse_time(to)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--to") from error
    with service(profile) as client:
        task_id = find(client, task)
        client.reset(task_id, moment)
        outcome = client.task(task_id)["detail"]["last_reset"]
    where = "from the beginning" if moment is None else f"to {show_time(moment)}"
    _done(as_json, f"Task {task} is reset {where}.\n{reset_text(outcome)}", task_id=task_id, date_from=moment, reset=outcome)


@app.command()
def remap(
    task: Task,
    table: Annotated[str, typer.Argument(help="The source table, schema.table.", metavar="TABLE")],
    mapped: Annotated[list[str] | None, typer.Option("--map", help="Fill a target column: SOURCE=TARGET.", metavar="SOURCE=TARGET")] = None,
    unmapped: Annotated[list[str] | None, typer.Option("--unmap", help="Leave a source column out.", metavar="SOURCE")] = None,
    profile: ProfileFile = None,
    as_json: AsJson = False,
) -> None:
    """Change the mapping of a source table; without options save it as it is. The task must be stopped or failed."""
    pairs = [pair.partition("=")[::2] for pair in mapped or []]
    if any(not source or not target for source, target in pairs):
        raise typer.BadParameter("write SOURCE=TARGET", param_hint="--map")
    with service(profile) as client:
        task_id = find(client, task)
        found = [one for one in client.mappings(task_id)["mappings"] if one["source_table"] == table]
        if not found:
            raise _ended(f"Task {task} has no mapping of {table}; write it as schema.table.", REFUSED)
        for mapping in found:
            held = {one["target_column"]: one["source_column"] for one in mapping["mapping"]}
            columns = {target: source for target, source in held.items() if source not in (unmapped or [])}
            columns |= {target: source for source, target in pairs}
            client.save_mapping(task_id, mapping, [(source, target) for target, source in columns.items()])
    _done(as_json, f"The mapping of {table} is saved; start the task.", task_id=task_id, source_table=table)


@app.command("set")
def set_task(
    task: Task,
    dirty_rows: Annotated[
        DirtyRowsPolicy, typer.Option("--dirty-rows", help="What to do with rows that the target refuses: stop, or set-aside.")
    ],
    dirty_max: Annotated[
        int | None, typer.Option("--dirty-max", help="Rows that may be set aside at the same time. [default: 100]")
    ] = None,
    dirty_per_minute_max: Annotated[
        int | None,
        typer.Option("--dirty-per-minute-max", help="Rows that may newly be set aside within any minute. [default: no such limit]"),
    ] = None,
    profile: ProfileFile = None,
    as_json: AsJson = False,
) -> None:
    """Change what a task does; a running task takes it up at once."""
    limits = dirty_max, dirty_per_minute_max
    if dirty_rows is DirtyRowsPolicy.STOP and limits != (None, None):
        raise typer.BadParameter("limits go with set-aside only", param_hint="--dirty-rows")
    with service(profile) as client:
        task_id = find(client, task)
        client.set_dirty_rows(task_id, dirty_rows.name, *limits)
        policy = client.task(task_id)["detail"]["dirty_rows"]
    _done(as_json, f"Task {task}: {policy_text(policy)}.", task_id=task_id, dirty_rows=policy)


@contextmanager
def service(profile: Path | None) -> Iterator[Client]:
    """A client of the service that the profile names; refusals and failures become messages and exit statuses."""
    from headwater.client import ApiError, Client, Unreachable
    from headwater.profile import ProfileError, load

    try:
        known = load(profile)
        with Client(known.endpoint, known.access_key, known.secret_key, known.project_id, known.instance_id) as client:
            yield client
    except ProfileError as error:
        raise _ended(str(error), MISUSED) from error
    except Unreachable as error:
        raise _ended(f"{error}. Does the service run there? (headwater serve)", UNREACHABLE) from error
    except ApiError as error:
        lines = [str(error), *(f"  - {detail}" for detail in error.details)]
        raise _ended("\n".join(lines), REFUSED) from error


def find(client: Client, text: str) -> str:
    """The id of the task that `text` names by id or by its whole name.

    Raises:
        ApiError: there is none, or several have this name.
    """
    from headwater.client import ApiError

    tasks = client.tasks()
    if any(task["task_id"] == text for task in tasks):
        return text
    named = [str(task["task_id"]) for task in tasks if task["task_name"] == text]
    if len(named) == 1:
        return named[0]
    if named:
        raise ApiError(404, "-", f"{len(named)} tasks are named {text}; say which by its id: {', '.join(named)}")
    raise ApiError(404, "-", f"There is no task with the id or name {text}; see: headwater task list")


def policy_text(policy: dict[str, Any]) -> str:
    """What a task does with refused rows, in words."""
    if policy["policy"] == "STOP":
        return "it stops at the first row that the target refuses"
    rate = policy["rows_per_minute_max"]
    return f"refused rows are set aside, up to {policy['rows_max']}" + (f" and {rate} within a minute" if rate else "")


def _follow(step: Callable[[], None]) -> None:
    try:
        while True:
            step()
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        return


def _print(view: RenderableType) -> None:
    from rich.console import Console

    Console().print(view)


def _done(as_json: bool, text: str, **members: Any) -> None:
    typer.echo(json.dumps(members) if as_json else text)


def _ended(message: str, status: int) -> typer.Exit:
    typer.echo(f"headwater: {message}", err=True)
    return typer.Exit(status)
