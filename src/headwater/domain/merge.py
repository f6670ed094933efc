"""Merge by key: from a stretch of history to the last state per key, on whole columns.

A target needs one write per key and stretch, not one per change. `merge` finds it: the changes of one source table, as one
mapping sees them, become the few steps that bring the target's table to where the stretch ends.

How, in order:

1. Changes whose operation the mapping does not replicate are left out first (see *Operations*).
2. The last TRUNCATE drops everything before it.
3. Key changes whose new row lacks unchanged values are taken out with all changes of their keys and merged row by row
   (`merge_rows.py`); they are rare. Everything else is merged on whole columns (`merge_columns.py`).

Per key the first and the last change of the stretch decide:

=========================  ====================================  ==================================
 first / last               `exact` (the target is where the       not exact (a replay, or after a
                            stretch begins)                        copy: it may be ahead)
=========================  ====================================  ==================================
 came into being / stands   insert                                upsert
 came into being / gone     nothing                               delete
 stood before / gone        delete                                delete
 stood before / stands      upsert, or partial where unchanged values were not sent
=========================  ====================================  ==================================

An update of the key removes the old key and lets the new one come into being.

Operations. The mapping's set filters what the source did, by kind, before anything is merged:

* UPDATE stands for updates of the key too. Without it a row keeps its old key and its old values at the target, and later
  changes of the new key find it only by their own key.
* DELETE stands for TRUNCATE too. Without it rows stay; a key that the source inserts again writes the inserted version
  over the row that stayed.
* Without INSERT no new row comes into being: updates change rows that stand at the target, and nothing else. A key change
  moves the row that stands (a `Move`); a key that was deleted stays gone although the source may insert it again.
* Without UPDATE an INSERT writes the inserted version, whatever later updates made of it.

With less than all three the target is not where the source is, so inserts are never taken as exact then, but after a TRUNCATE.
A mapping whose columns are all key has nothing to update: updates that keep the key are left out.

A mapping without key counts whole rows instead (`merge_whole.py`); `exact` means nothing to it.

Keys under a deferrable constraint are not usable: two rows may swap keys with nothing in between, and the log does not
tell which row a change means. PostgreSQL does not take them as replica identity for the same reason.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow.compute as pc

from headwater.domain.changes import ChangeBatch, Op
from headwater.domain.mapping import TableMapping
from headwater.domain.merge_columns import Rules, merge_columns
from headwater.domain.merge_rows import merge_rows
from headwater.domain.merge_whole import merge_whole
from headwater.domain.steps import MergedTable, MergeStep, Move
from headwater.domain.stretch import Stretch, read_stretch

__all__ = ["MergeStep", "MergedTable", "Move", "merge"]


def merge(mapping: TableMapping, batches: Sequence[ChangeBatch], *, exact: bool) -> MergedTable:
    """Merge the changes of one source table, in log order, into the steps that one mapping's target table needs.

    `batches` may lie under different schemas of the table: columns are found by name. `exact` tells that the target is where the
    stretch begins; without it the steps converge from any later state (P5). No changes: no steps.

    Raises:
        SchemaMismatch: a batch lacks a mapped column, the mapping's key is not the table's, or a key value is NULL; a mapping
            without key meets a change that does not bring the whole row (see `merge_whole.py`).
    """
    stretch = _replicated(read_stretch(mapping, batches), mapping)
    stretch, truncated = _after_truncate(stretch)
    if not stretch.ops and not truncated:
        return MergedTable(mapping, ())
    rules = Rules.of(mapping.operations, exact=exact, truncated=truncated)
    if not mapping.key:
        return MergedTable(mapping, tuple(step for step in [merge_whole(stretch, truncated)] if not step.empty), exact)
    stretch.check_keys()
    columnar, moving = stretch.split_moves(all_pairs=not rules.may_insert)
    steps = [merge_columns(columnar, rules, truncated)] if columnar.ops or truncated else []
    steps += merge_rows(moving, rules) if moving.ops else []
    return MergedTable(mapping, tuple(step for step in steps if not step.empty), rules.exact)


def _replicated(stretch: Stretch, mapping: TableMapping) -> Stretch:
    """Without the changes that the mapping does not replicate, and without updates that can't show."""
    left_out: list[int] = []
    if "INSERT" not in mapping.operations:
        left_out.append(Op.INSERT)
    if "DELETE" not in mapping.operations:
        left_out += [Op.DELETE, Op.TRUNCATE]
    if "UPDATE" not in mapping.operations:
        left_out += [Op.UPDATE, Op.KEY_OLD, Op.KEY_NEW]
    elif mapping.key and len(mapping.key) == len(mapping.columns):
        left_out.append(Op.UPDATE)
    if stretch.ops.isdisjoint(left_out):
        return stretch
    return stretch.where(pc.invert(stretch.having(left_out)))


def _after_truncate(stretch: Stretch) -> tuple[Stretch, bool]:
    if Op.TRUNCATE not in stretch.ops:
        return stretch, False
    last = pc.indices_nonzero(stretch.having([Op.TRUNCATE]))[-1].as_py()
    return stretch.after(last), True
