"""The references say what the code does: every setting, metric, failure and command, no more and no fewer."""

from __future__ import annotations

import re
from pathlib import Path

import typer.main
from pydantic import BaseModel

from headwater.api.metrics import FAMILIES
from headwater.cli import app
from headwater.domain.failures import POLICIES
from headwater.domain.lifecycle import EXECUTE_STATUS
from headwater.settings import Settings, names, variable
from headwater.targets.postgres.checkpoints import SCHEMA_STATEMENTS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def table(page: str, columns: int, head: str) -> list[list[str]]:
    """The rows of the first table of a page whose header begins with `head`, cells that are code without their back-ticks."""
    lines = iter((DOCS / page).read_text("utf-8").splitlines())
    for line in lines:
        if line.startswith(f"| {head} |"):
            break
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split(" | ", columns - 1)]
        rows.append([cell[1:-1] if re.fullmatch(r"`[^`]*`", cell) else cell for cell in cells])
    return rows


def descriptions(model: type[BaseModel] = Settings, prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for name, field in model.model_fields.items():
        group = field.annotation
        if isinstance(group, type) and issubclass(group, BaseModel):
            found |= descriptions(group, f"{name}.")
        else:
            found[prefix + name] = " ".join((field.description or "").split())
    return found


def test_every_setting_is_in_the_reference_as_the_code_describes_it() -> None:
    told = {row[0]: (row[1], row[3].rstrip("| ")) for row in table("reference/settings.md", 4, "setting")}
    meant = {name: (variable(name), text) for name, text in descriptions().items()}
    assert told == meant
    assert set(told) == set(names())


def test_every_default_in_the_reference_is_the_code_s() -> None:
    for row in table("reference/settings.md", 4, "setting"):
        name, default = row[0], row[2]
        model: type[BaseModel] = Settings
        *groups, last = name.split(".")
        for group in groups:
            annotation = model.model_fields[group].annotation
            assert isinstance(annotation, type)
            assert issubclass(annotation, BaseModel)
            model = annotation
        field = model.model_fields[last]
        expected = "none: must be given" if field.is_required() else "-" if field.default is None else str(field.default)
        assert default.split(" (")[0] == expected, name


def test_every_metric_is_in_the_reference() -> None:
    told = {row[0]: (row[1], re.findall(r"\w+", row[2]), row[3].rstrip("| ")) for row in table("reference/metrics.md", 4, "metric")}
    assert told == {family.name: (family.unit, list(family.labels), family.meaning) for family in FAMILIES}


def test_every_kind_of_failure_is_in_the_reference_with_what_is_done() -> None:
    told = {row[0]: row[1] for row in table("reference/failures.md", 3, "kind")}
    assert told == {kind: policy.action for kind, policy in POLICIES.items()}


def test_every_state_is_in_the_how_to() -> None:
    assert [row[0] for row in table("how-to/read-the-monitors.md", 3, "state")] == list(EXECUTE_STATUS)


def test_every_command_and_option_is_in_the_reference() -> None:
    told = " ".join((DOCS / "reference/cli.md").read_text("utf-8").split())
    group = typer.main.get_command(app)
    commands = {f"headwater {name}": command for name, command in group.commands.items()}  # type: ignore[attr-defined]
    tasks = commands.pop("headwater task")
    commands |= {f"headwater task {name}": command for name, command in tasks.commands.items()}
    commands |= {f"headwater dirty {name}": command for name, command in commands.pop("headwater dirty").commands.items()}
    assert set(re.findall(r"\| `(headwater(?: task| dirty)? [\w-]+)", told)) == set(commands)
    for name, command in commands.items():
        assert f"`{name}" in told
        for option in (o for parameter in command.params for o in parameter.opts if o.startswith("--")):
            assert option in told, f"{name} {option}"


def test_the_statements_for_the_target_are_those_that_run() -> None:
    written = (DOCS / "reference/databases.md").read_text("utf-8")
    shown = re.search(r"```sql\n(.*?)```", written, re.DOTALL)
    assert shown is not None
    assert [" ".join(s.split()) for s in shown[1].split(";") if s.strip()] == [" ".join(s.split()) for s in SCHEMA_STATEMENTS]


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for link in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8")):
            assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"


def test_the_promises_name_tests_that_exist() -> None:
    text = (DOCS / "promises.md").read_text("utf-8")
    assert re.findall(r"^\| (P\d+) ", text, re.MULTILINE) == [f"P{n}" for n in range(1, 11)]
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) >= 20
    for path, test in named:
        assert (ROOT / path).exists(), path
        assert not test or f"def {test}(" in (ROOT / path).read_text("utf-8"), f"{path}::{test}"
