"""`headwater task verify`: begins a verification and follows it to its end.

Exit status: 0 equal (or repaired), 1 rows differ (or refused by the service), 4 not proved (rows unsettled, tables not compared, failed,
cancelled); 2 and 3 as for all `task` commands.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.tasks import POLL_S, REFUSED, AsJson, ProfileFile, Task, find, service

if TYPE_CHECKING:
    from headwater.client import Client

DIFFERENT, NOT_PROVED = 1, 4
STATUS = {"equal": 0, "repaired": 0, "different": DIFFERENT}


def verify(
    task: Task,
    repair: Annotated[bool, typer.Option("--repair", help="Write rows again that differ; the task must be running.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="Give up the verification that is under way.")] = False,
    profile: ProfileFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare a task's target with its source, row by row, and show what differs. Ctrl-C leaves it running."""
    with service(profile) as client:
        task_id = find(client, task)
        if cancel:
            typer.echo(_cancelled(client, task_id))
            return
        begun = client.verify(task_id, repair)
        ended = _follow(client, task_id, begun["id"], quiet=as_json)
    if as_json:
        typer.echo(json.dumps(ended))
    raise typer.Exit(STATUS.get(ended["outcome"], NOT_PROVED))


def _follow(client: Client, task_id: str, verification_id: str, *, quiet: bool) -> dict[str, Any]:
    from rich.console import Console
    from rich.live import Live

    from headwater.cli.views import verification_view

    found = client.verification(task_id, verification_id)
    with Live(verification_view(found), auto_refresh=False, console=Console(quiet=quiet)) as live:
        while found["ended_ms"] is None:
            time.sleep(POLL_S)
            found = client.verification(task_id, verification_id)
            live.update(verification_view(found), refresh=True)
    return found


def _cancelled(client: Client, task_id: str) -> str:
    under_way = [one for one in client.verifications(task_id) if one["ended_ms"] is None]
    for one in under_way:
        client.cancel_verification(task_id, one["id"])
    if not under_way:
        typer.echo("headwater: no verification of this task is under way", err=True)
        raise typer.Exit(REFUSED)
    return f"The verification {under_way[0]['id']} is cancelled."
