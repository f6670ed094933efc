"""The references of the API and of its error codes say what the code does: every operation, code and status, no more and no fewer."""

from __future__ import annotations

import re
from pathlib import Path

from headwater.api.errors import GATEWAY_CODES
from headwater.api.payloads.tasks import reset_members, task_detail
from headwater.ports.store import Reset, Scope
from headwater.services.errors import CODES
from headwater.services.monitoring import WindowView
from headwater.services.tasks import TaskForm
from tests.serving import service

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
BASE = "/v2/{project_id}/fdi/instances/{instance_id}"


def rows(page: str) -> list[list[str]]:
    """All table rows of a page that begin with something in back-ticks, as cells without them."""
    lines = (REFERENCE / page).read_text("utf-8").splitlines()
    return [[cell.strip().strip("`") for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("| `")]


def test_every_operation_is_in_the_reference(tmp_path: Path) -> None:
    with service(tmp_path) as served:
        document = served.app.openapi()
    meant = {
        (one["operationId"], f"{method.upper()} {path.removeprefix(BASE)}", one["description"].splitlines()[0])
        for path, methods in document["paths"].items()
        for method, one in methods.items()
    }
    told = {(row[0], row[1], row[2].rstrip("| ")) for row in rows("api.md") if len(row) == 3}
    assert told == meant


def test_every_code_with_status_and_text_is_in_the_reference() -> None:
    meant = [(code, str(status), text) for code, (status, text) in CODES.items()]
    meant += [(code, str(status), text) for code, cases in GATEWAY_CODES.items() for status, text in cases]
    assert [(row[0], row[1], row[2]) for row in rows("error-codes.md")] == meant


def test_a_code_is_called_unused_only_where_no_code_uses_it() -> None:
    files = (REFERENCE.parents[1] / "src").rglob("*.py")
    sources = [path.read_text("utf-8") for path in files if path.parts[-2:] != ("services", "errors.py")]
    used = {code for code in CODES if any(f'"{code}"' in text for text in sources)} | {"FDI.3033", "FDI.3180"}
    unused = {row[0] for row in rows("error-codes.md") if row[3].startswith("not used")}
    assert unused == set(CODES) - used


def test_every_member_of_task_detail_is_in_the_reference(tmp_path: Path) -> None:
    with service(tmp_path) as served:
        scope = Scope(served.first.project_id, served.first.instance_id)
        task_id = served.parts.services.tasks.create(scope, TaskForm("abc", ("INSERT",)))
        detail = task_detail(served.parts.services.monitoring.details(scope, task_id))
    window = set(WindowView.__dataclass_fields__)
    members = (
        set(detail)
        | set(detail["progress"])
        | window
        | set(reset_members(Reset("r", "t", "b", 1, None, None, None, None, 1, "done", "", None)))
    )
    text = (REFERENCE / "api.md").read_text("utf-8").partition("`task_detail` of `ShowTask`")[2]
    assert members - set(re.findall(r"`(\w+)`", text)) == set()
