"""Which rows the journal says have changed since an offset: what tells a row that moves from a row that differs.

A row that no transaction from an offset up to the journal's end has touched was the same all that time, at the source and in what the
target should hold. Where in doubt (a table emptied, a key that the log no longer describes), every row counts as touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from headwater.domain.changes import ChangeBatch, Op
from headwater.domain.tables import TableName
from headwater.ports.compare import Key
from headwater.ports.journal import JournalReader

_TRUNCATE = pa.scalar(int(Op.TRUNCATE), pa.uint8())


def touched(
    reader: JournalReader, since: int, table: TableName, key: Sequence[str], keys: Collection[Key], stopping: Callable[[], bool]
) -> set[Key]:
    """Those of `keys` (the source's text form, in the order of the columns `key`) that changed at or after the offset `since`.

    Without key columns `keys` holds the empty key, which any change of the table touches.

    Raises:
        OutOfWindow: the journal does not hold what followed `since` any more.
    """
    wanted, found = set(keys), set[Key]()
    firsts = pa.array([k[0].encode() for k in wanted], pa.binary()) if key else None
    upto = reader.end().next_offset
    if since >= upto:
        return found
    for placed in reader.read(since, frozenset({str(table)})):
        for batch in placed.frame.batches:
            found |= _in_batch(batch, key, wanted, firsts)
        if placed.first_offset >= upto or found == wanted or stopping():
            break
    return found


def _in_batch(batch: ChangeBatch, key: Sequence[str], wanted: set[Key], firsts: pa.Array | None) -> set[Key]:
    if not batch.data.num_rows:
        return set()
    places = [batch.schema.index(name) for name in key]
    if firsts is None or None in places or pc.any(pc.equal(batch.data.column(2), _TRUNCATE)).as_py():
        return wanted
    columns = [batch.value(at) for at in places if at is not None]
    if any(column.null_count for column in columns):
        return wanted
    hits = pc.is_in(columns[0], value_set=firsts)
    rows = zip(*(column.filter(hits).to_pylist() for column in columns), strict=True)
    return {one for row in rows if (one := tuple(value.decode() for value in row)) in wanted}
