"""The command line: `headwater init`, `serve`, `demo`, and `task ...` over the HTTP API.

What a command does to a data directory is done by the composition root, which hands itself in as `Program` (nobody imports it); what
concerns tasks goes over HTTP as any other client would.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

import headwater
from headwater.cli import creation, dirty, tasks, verify

if TYPE_CHECKING:  # commands import what they need: starting is most of what a short command does
    from headwater.services.setup import FirstAccess
    from headwater.settings import Settings


class DemoDatabase(StrEnum):
    """Kinds of databases that the demo can be played on."""

    POSTGRES = "postgres"
    MARIADB = "mariadb"
    MYSQL = "mysql"


class Program(Protocol):
    """What the composition root does for the command line. Both raise HeadwaterError with a sentence for the operator."""

    def init(self, settings: Settings) -> FirstAccess:
        """Make the data directory, key, metadata and first access, where they are not there."""

    def serve(self, settings: Settings) -> None:
        """Run the service until it is told to stop."""


app = typer.Typer(
    help="Keeps tables of one database equal to tables of another, and can take that back to any moment.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # its tracebacks show local variables, and those hold secrets
)

app.add_typer(tasks.app, name="task")
app.add_typer(dirty.app, name="dirty")
tasks.app.command("create-tables")(creation.create_tables)
tasks.app.command("verify")(verify.verify)

DataDir = Annotated[Path | None, typer.Option("--data-dir", help="Directory of journals, key and metadata. [env: HEADWATER_DATA_DIR]")]
DatabaseUrl = Annotated[
    str | None,
    typer.Option(help="Keep the metadata in PostgreSQL: postgresql://USER:PASSWORD@HOST/DATABASE. [env: HEADWATER_DATABASE_URL]"),
]
Config = Annotated[Path | None, typer.Option(help="Settings file. [default: headwater.toml in the data directory]")]


@app.callback(invoke_without_command=True)
def _main(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version and leave.", is_eager=True)] = False
) -> None:
    if version:
        typer.echo(f"headwater {headwater.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def init(
    context: typer.Context,
    data_dir: DataDir = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON object.")] = False,
) -> None:
    """Make the metadata and the first project, instance, administrator and access key, and show them once."""
    from headwater.settings import load

    settings = load(config, data_dir=data_dir, database_url=database_url)
    program: Program = context.obj
    made = program.init(settings)
    if as_json:
        typer.echo(json.dumps(asdict(made)))
    else:
        typer.echo(_told(made, settings))


@app.command()
def serve(
    context: typer.Context,
    data_dir: DataDir = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one. [default: 8080]")] = None,
    database_url: DatabaseUrl = None,
    config: Config = None,
) -> None:
    """Run the API and the supervisor until SIGTERM or Ctrl-C."""
    from headwater.settings import load

    program: Program = context.obj
    program.serve(load(config, data_dir=data_dir, host=host, port=port, database_url=database_url))


@app.command()
def demo(
    source: Annotated[DemoDatabase, typer.Option(help="What the source is.")] = DemoDatabase.POSTGRES,
    target: Annotated[DemoDatabase, typer.Option(help="What the target is.")] = DemoDatabase.POSTGRES,
    once: Annotated[bool, typer.Option("--once", help="End by itself; otherwise the service keeps running until Ctrl-C.")] = False,
) -> None:
    """Watch the main job, from the first copy to a reset, between two private database servers."""
    from headwater.demo import run

    raise typer.Exit(run(once=once, source=source, target=target))


def _told(made: FirstAccess, settings: Settings) -> str:
    """What `init` says to a person."""
    if not made.created:
        return (
            f"{settings.data_dir} is set up already: nothing was changed, and the secrets are not shown again.\n"
            f"  project_id   {made.project_id}\n  instance_id  {made.instance_id}\n  user_name    {made.user_name}"
        )
    lines = [f"  {name:<12} {value}" for name, value in asdict(made).items() if name != "created"]
    return "\n".join(
        [
            f"Headwater is set up in {settings.data_dir}. Keep these; the secrets are not shown again:",
            *lines,
            f"Next: headwater serve --data-dir {settings.data_dir}",
        ]
    )
