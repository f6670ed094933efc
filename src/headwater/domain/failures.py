"""One table from the kind of a failure to what is done about it, with a hint for the operator.

`retry`: the supervisor starts the worker again after a growing pause, for ever; position kept.
`stop`: the task is marked failed with its position kept; a person acts and starts (or resets) it again.
`replace`: a newer run has taken over; nothing to do.

`decide` is the whole policy. It is pure: the supervisor carries it out, and nobody else sleeps or tries again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

RETRY_PAUSE_S = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses before the first, second, ... restart; the last one repeats."""

HEALTHY_AFTER_S = 30.0
"""A worker that ran this long before it failed is not in a series of failures: its pauses begin anew. Nor is one that got further."""


@dataclass(frozen=True)
class Policy:
    """What is done about a failure, and what the operator can do."""

    action: Literal["retry", "stop", "replace"]
    hint: str


@dataclass(frozen=True)
class Decision:
    """What follows from one failure. `failures` is how many there are now in this series, to be handed in next time."""

    action: Literal["retry", "stop", "replace"]
    failures: int
    pause_s: float = 0.0


POLICIES: dict[str, Policy] = {
    "source_unavailable": Policy("retry", "Check that the source database is up and reachable; Headwater keeps trying."),
    "source_refused": Policy("stop", "Repair what the message names at the source, then start the task again."),
    "slots_exhausted": Policy(
        "retry",
        "Free a replication slot and a WAL sender at the source (see pg_replication_slots), or raise max_replication_slots and "
        "max_wal_senders there; a copy needs one more of each. Headwater keeps trying.",
    ),
    "slot_lost": Policy(
        "stop",
        "The source no longer has the log that follows what was captured. "
        "Reset the task without a time to copy again and begin a new history.",
    ),
    "target_unavailable": Policy("retry", "Check that the target database is up and reachable; Headwater keeps trying."),
    "target_refused": Policy("stop", "Repair what the message names at the target, then start the task again."),
    "target_changed": Policy(
        "stop",
        "Somebody else changes this table at the target. End that, then reset the task, to any moment: the table is copied again.",
    ),
    "row_refused": Policy(
        "stop",
        "Repair the row at the source, or the column or constraint at the target, then start the task again; "
        "or let it set such rows aside (headwater task set ID --dirty-rows set-aside).",
    ),
    "dirty_limit": Policy(
        "stop",
        "Look at the rows that were set aside (headwater dirty list ID), repair their cause and retry or discard them, "
        "or raise the limit; then start the task again.",
    ),
    "dirty_unreadable": Policy("stop", "Do what the message says about the secret key, then start the task again."),
    "schema_mismatch": Policy("stop", "Change the mapping or the tables so that they fit, then start the task again."),
    "undecodable": Policy("stop", "Please report the message: Headwater does not skip what it does not understand."),
    "journal_missing": Policy("retry", "The journal begins when capture of its source starts; Headwater keeps trying."),
    "journal_busy": Policy("retry", "Another process holds the journal, an older capture perhaps; Headwater keeps trying."),
    "journal_full": Policy("retry", "Free space on the disk that holds the data directory; Headwater keeps trying."),
    "journal_damaged": Policy(
        "stop", "The journal can't be read here. Reset the task without a time to copy again and begin a new history."
    ),
    "history_broken": Policy("stop", "The history has a gap at this place. Reset the task without a time to copy again."),
    "out_of_window": Policy("stop", "The journal no longer holds the task's place. Reset the task without a time to copy again."),
    "stalled": Policy("retry", "Headwater goes on by itself as soon as what is in the way is gone."),
    "fenced": Policy("replace", "A newer run of this task has taken over."),
    "crashed": Policy("retry", "The worker process ended without a word (killed, out of memory?); it is started again."),
    "compare_timeout": Policy("stop", "Raise verify.statement_timeout_s, or lower verify.chunk_rows."),
    "compare_impossible": Policy("stop", "Compare the tables by other means; the message names what has no common text."),
    "internal": Policy("retry", "An error that Headwater does not know; see the service's log. It is tried again."),
}


def policy(kind: str) -> Policy:
    """The policy for a kind of failure; an unknown kind is treated as `internal`."""
    return POLICIES.get(kind, POLICIES["internal"])


def decide(kind: str, failures: int, ran_s: float, got_further: bool = False) -> Decision:
    """What to do about a worker that ended with `kind` after `ran_s` seconds, the `failures` before it having come in series.

    One that `got_further` is no sign that trying again is in vain: whatever hit it was not there all the time."""
    action = policy(kind).action
    if action != "retry":
        return Decision(action, 0)
    before = 0 if got_further or ran_s >= HEALTHY_AFTER_S else failures
    return Decision("retry", before + 1, RETRY_PAUSE_S[min(before, len(RETRY_PAUSE_S) - 1)])
