"""What can be set about a run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """`runs` per figure; `scale` shrinks every workload (1 is the table's; smaller is for trying out, and is said in the result)."""

    runs: int = 5
    scale: float = 1.0

    def of(self, full: int) -> int:
        """A size of the table at this scale."""
        return max(1, int(full * self.scale))
