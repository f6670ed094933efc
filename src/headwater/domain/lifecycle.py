"""The states of a task, as one table.

The user's *wish* (run or not) and the *fact* are kept apart; the supervisor makes the wish true step by step. A state is
what the fact is called in records, monitors and the API:

=============  ======================  ===================================================================
 state          API execute_status      who sets it, and what it means
=============  ======================  ===================================================================
 `saved`        UNSTARTED               create: never started
 `starting`     WAITING                 supervisor: wished to run, no worker has reported yet
 `waiting`      WAITING                 worker: waits for its capture, or for open source transactions
 `copying`      RUNNING                 worker: first copy
 `catching_up`  RUNNING                 worker: behind: after the copy, in a replay, with a backlog
 `following`    RUNNING                 worker: at most a moment behind
 `stalled`      WAITING                 supervisor: a stage has had something to do for long and got nothing done
 `retrying`     WAITING                 supervisor: the worker failed in a way that heals; it starts again
 `stopped`      CANCELLED               supervisor: wished to stop, and the worker has ended
 `failed`       ERROR                   supervisor: a person has to act; the message says how. Position kept
=============  ======================  ===================================================================

All survive a restart of the service; the states of a running worker are set again when it reports.
"""

from __future__ import annotations

from dataclasses import dataclass

EXECUTE_STATUS = {
    "saved": "UNSTARTED",
    "starting": "WAITING",
    "waiting": "WAITING",
    "copying": "RUNNING",
    "catching_up": "RUNNING",
    "following": "RUNNING",
    "stalled": "WAITING",
    "retrying": "WAITING",
    "stopped": "CANCELLED",
    "failed": "ERROR",
}
"""State -> the API's `execute_status`."""

RUNNING = frozenset({"starting", "waiting", "copying", "catching_up", "following", "stalled", "retrying"})
"""States of a task that is wished to run and has not failed."""


@dataclass(frozen=True)
class Fact:
    """What is known about a wished task's workers. `apply` and `capture` are what their reports call their state, None without one.

    `failing` is the kind and message of the failure after which a worker is being started again, None where none is. `stalled` says
    what stands still, empty where nothing does."""

    apply: str | None
    capture: str | None
    failing: tuple[str, str] | None = None
    message: str = ""
    stalled: str = ""


@dataclass(frozen=True)
class Recorded:
    """A state as records keep it."""

    state: str
    error_kind: str = ""
    message: str = ""


def running_state(fact: Fact) -> Recorded:
    """The state of a task that is wished to run and has not failed."""
    if fact.failing is not None:
        return Recorded("retrying", *fact.failing)
    if fact.stalled:
        return Recorded("stalled", "stalled", fact.stalled)
    if fact.apply is not None and fact.apply != "starting":
        return Recorded(fact.apply, "", fact.message)
    return Recorded("starting", "", "" if fact.capture == "capturing" else "Waiting for the capture of its source to begin.")
