"""The table of faults in the reference names every fault that the plans know, with the time that they hold it to."""

from __future__ import annotations

from pathlib import Path

from tests.crash.faults import CONNECTIONS, PROCESSES, RESET, ROTATED, SERVERS
from tests.crash.test_clock import clock_faults

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "failures.md"


def test_every_fault_that_heals_is_documented() -> None:
    told = {tuple(cell.strip() for cell in line.split("|")[1:4]) for line in REFERENCE.read_text().splitlines() if line.startswith("|")}
    faults = [*PROCESSES, RESET, *SERVERS, ROTATED, *CONNECTIONS, *clock_faults(Path("nowhere"))]
    assert [f.name for f in faults if (f.name, "heals", f"{f.heals_s:.0f} s") not in told] == []
