"""What a target in memory keeps for a task beside the rows: its checkpoint, its tables' states, rows set aside, and books of keys."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace

from headwater.domain.mapping import TableMapping
from headwater.ports.dirty import DirtyRecord
from headwater.ports.target import Checkpoint, TableState
from headwater.testing.rows import Key


@dataclass
class Books:
    """By mapping id: the keys of its source rows, where others are beside it; and which of these are complete."""

    keys: dict[str, set[Key]] = field(default_factory=dict)
    complete: frozenset[str] = frozenset()

    def copy(self) -> Books:
        """An independent copy."""
        return Books({name: set(keys) for name, keys in self.keys.items()}, self.complete)

    def elsewhere(self, mapping: TableMapping, key: Key, column: str = "") -> bool:
        """Whether a mapping beside this one (that fills `column`, where one is given) has a row with the key."""
        others = mapping.owners(column) if column else [other.mapping_id for other in mapping.beside]
        return any(key in self.keys.get(other, ()) for other in others)


@dataclass
class TaskPlace:
    checkpoint: Checkpoint
    states: dict[str, TableState] = field(default_factory=dict)
    dirty: dict[str, DirtyRecord] = field(default_factory=dict)
    books: Books = field(default_factory=Books)


class MemoryDesk:
    """`DirtyDesk` over a `MemoryTarget`; what is done becomes real with the commit of its holder. Nobody waits for a record here."""

    def __init__(self, place: Callable[[], TaskPlace | None]) -> None:
        self._place = place
        self.pending: list[Callable[[dict[str, DirtyRecord]], None]] = []

    def records(self) -> dict[str, DirtyRecord]:
        """The records with what is pending."""
        place = self._place()
        found = dict(place.dirty) if place else {}
        for act in self.pending:
            act(found)
        return found

    def held(self) -> list[DirtyRecord]:
        """See `DirtyDesk.held`."""
        return [replace(r, sealed_row=None) for r in self.records().values() if r.sealed_row is not None]

    def page(self, state: str, limit: int, offset: int) -> tuple[int, list[DirtyRecord]]:
        """See `DirtyDesk.page`."""
        found = sorted((r for r in self.records().values() if state in ("", r.state)), key=lambda r: (-r.last_us, r.id))
        return len(found), [replace(r, sealed_row=None) for r in found[offset : offset + limit]]

    def take(self, ids: Collection[str]) -> list[DirtyRecord]:
        """See `DirtyDesk.take`."""
        return [r for r in self.records().values() if r.id in ids and r.sealed_row is not None]

    def known(self, ids: Collection[str]) -> dict[str, DirtyRecord]:
        """See `DirtyDesk.known`."""
        return {r.id: replace(r, sealed_row=None) for r in self.records().values() if r.id in ids}

    def put(self, records: Sequence[DirtyRecord]) -> None:
        """See `DirtyDesk.put`."""
        self.pending.append(lambda held: held.update({r.id: _again(held.get(r.id), r) for r in records}))

    def settle(self, ids: Collection[str], state: str, by: str, now_us: int) -> None:
        """See `DirtyDesk.settle`."""
        self.pending.append(lambda held: settle(held, ids, state, by, now_us))


def _again(before: DirtyRecord | None, record: DirtyRecord) -> DirtyRecord:
    return record if before is None else replace(record, first_us=before.first_us, times=before.times + 1)


def settle(held: dict[str, DirtyRecord], ids: Collection[str], state: str, by: str, now_us: int) -> None:
    for record in [held[i] for i in ids if i in held]:
        ended = replace(record, state=state, settled_by=by, settled_us=now_us) if record.state == "open" else record
        if record.sealed_row is not None:
            held[record.id] = ended if state == "discarded" else replace(ended, sealed_key=b"", sealed_row=None, row_bytes=0)
