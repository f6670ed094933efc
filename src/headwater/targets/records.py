"""What targets write down about tasks and copies: its form, its rules, and what is said about it, the same for every kind of target."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from headwater.domain.errors import Fenced, TargetError
from headwater.domain.mapping import TableMapping
from headwater.domain.shapes import COPY_AGAIN
from headwater.ports.source import Chunk
from headwater.ports.target import Checkpoint, CopyState, TableState

Mark = tuple[str, int, int]
"""A chunk that is there for good: mapping id, number, rows."""

Plan = tuple[str, str, int, bool, str | list[Mapping[str, Any]], int]
"""A copy: mapping id, state, since, fresh, its chunks as JSON (or read from that), rows of chunks without marks of their own."""


def plan_text(chunks: Iterable[Chunk]) -> str:
    """A copy's chunks as JSON."""
    return json.dumps([{"number": c.number, "after": c.after, "upto": c.upto} for c in chunks])


def table_states(plans: Iterable[Plan], marks: Iterable[Mark]) -> dict[str, TableState]:
    """Copy progress by mapping id."""
    done: dict[str, dict[int, int]] = {}
    for mapping_id, number, rows in marks:
        done.setdefault(mapping_id, {})[number] = rows
    found = {}
    for mapping_id, state, since, fresh, text, rows in plans:
        marked = done.get(mapping_id, {})
        plan = tuple(_chunk(one) for one in (json.loads(text) if isinstance(text, str) else text))
        total = rows + sum(marked.values())
        found[mapping_id] = TableState(mapping_id, CopyState(state), since, bool(fresh), plan, frozenset(marked), total)
    return found


def settled(place: Checkpoint) -> bool:
    """Whether the target is at this place what the source was at one moment."""
    return place.offset is None or place.offset >= place.exact_from


def fenced(task_id: str, epoch: int) -> Fenced:
    """What a run is told that another one has followed."""
    return Fenced(f"Task {task_id} is no longer held by epoch {epoch} at the target.")


def no_checkpoint(task_id: str) -> Fenced:
    """What a run is told whose task is not at the target."""
    return Fenced(f"Task {task_id} has no checkpoint at the target; it was removed, or no epoch was raised.")


def taken_over(task_id: str, held: Checkpoint | None, epoch: int, move_to: Checkpoint | None) -> Checkpoint:
    """The checkpoint under which `epoch` takes the task over; `held` itself where it has done so already. See `Target.raise_epoch`.

    Raises Fenced where a newer epoch holds the task."""
    if held is None or held.epoch > epoch:
        raise Fenced(f"Task {task_id} is held by epoch {held.epoch if held else '?'} at the target; {epoch} is too old.")
    if held.epoch == epoch:
        return held
    return held.moved_back(move_to, epoch) if move_to is not None else replace(held, epoch=epoch)


def no_table(mapping: TableMapping) -> TargetError:
    """What a write is told whose table was not found."""
    return TargetError(f"The target has no table {mapping.target} (any more). Create it.", kind="target_refused")


def no_key(mapping: TableMapping, names: Iterable[str]) -> TargetError:
    """What a write is told whose rows can't be found by the mapped key."""
    where = f"The target table {mapping.target} has no unique index on ({', '.join(names)})"
    return TargetError(f"{where}. Create one.", kind="target_refused")


def another_table(mapping: TableMapping, *, gone: bool) -> str:
    """What is said where a mapping's table is not the one that was copied to any more; `gone`: it is not there at all."""
    if gone:
        what = f"The target has no table {mapping.target} any more, which {mapping.source} fills: it was dropped or renamed."
        return f"{what} Give it its name back and start the task; or create it anew, and then: {COPY_AGAIN}"
    what = "it was dropped and made anew, or another one took its name"
    return f"At the target {mapping.target} is another table than the one that {mapping.source} was copied to: {what}. {COPY_AGAIN}"


def _chunk(one: Mapping[str, Any]) -> Chunk:
    after, upto = one["after"], one["upto"]
    return Chunk(one["number"], None if after is None else tuple(after), None if upto is None else tuple(upto))
