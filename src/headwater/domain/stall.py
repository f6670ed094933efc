"""Telling a stage that stands still from one that has nothing to do: signs, and what a person is told about them. Pure.

A worker that is alive may get nothing done: a lock at the target, a connection that swallows what it is given, a source that has gone
silent, a fault of ours. Alive is therefore not enough. Each stage shows a *mark*, which changes with everything that it gets done; a stage
that has something to do and whose mark stays the same for too long stands still, whatever its worker says.
"""

from __future__ import annotations

from dataclasses import dataclass

STAGES = {
    "start": "The worker of the task is still starting",
    "copy": "The copy has brought no row",
    "read": "Nothing was read from the journal",
    "write": "The target has not finished what it was given",
    "commit": "The target has not answered the commit",
    "capture_start": "The capture of its source is still starting",
    "capture": "Nothing new was heard from the source",
}
"""Stage -> what stands still in it, as the beginning of a sentence."""

NEXT_STEPS = {
    "start": "If it goes on, look into the service's log.",
    "copy": "Look at both databases for sessions that wait (application_name headwater).",
    "read": "If it goes on, look at the disk of the data directory and into the service's log.",
    "write": "Look at the target for locks and sessions that wait (application_name headwater).",
    "commit": "Look at the target's disk, and at its synchronous standbys if it has some.",
    "capture_start": "Look at the source for locks and for transactions that stay open: making a replication slot waits for them.",
    "capture": "Look at the source for a large transaction that is being decoded, and at the network.",
}
"""Stage -> what a person can look at."""


@dataclass(frozen=True)
class Sign:
    """What a stage shows of itself: `due` where it has something to do; `mark` changes with everything that it gets done.

    `obstacle` is what its worker found in the way, as a sentence; empty where it found nothing."""

    stage: str
    due: bool
    mark: tuple[object, ...] = ()
    obstacle: str = ""


@dataclass(frozen=True)
class Stall:
    """A stage that has stood still for `for_s` seconds."""

    stage: str
    for_s: int
    obstacle: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (f"{STAGES[self.stage]} for {self.for_s} s.", self.obstacle, NEXT_STEPS[self.stage])))
